"""The demo's page: plain HTML beside its videos, fit for `file://`, with nothing fetched from anywhere."""

import json
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template


@dataclass(frozen=True)
class Clip:
    """One episode."""

    video: str
    """relative to the page, as is the poster"""
    poster: str
    steps: int
    success: bool
    waypoint_distance: float
    instructions: tuple[tuple[int, str], ...]
    """(step, text): what was to be done from that step on"""
    phrases: tuple[tuple[int, str], ...]
    """what was done, in words"""


@dataclass(frozen=True)
class Chapter:
    """One task."""

    task: str
    about: str
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Film:
    """An episode of a planner: what it saw and thought."""

    task: str
    video: str
    """relative to the page, as is the poster"""
    poster: str
    steps: int
    success: bool
    waypoint_distance: float
    seconds: float
    """a plan took"""


def render(films: list[Film], chapters: list[Chapter], fps: float, size: int) -> str:
    """The page's HTML."""
    template = Template((files("sfvgen_experiments") / "demo_page.html").read_text(encoding="utf-8"))
    links = " ".join(f'<a href="#{escape(c.task)}">{escape(_title(c.task))}</a>' for c in chapters)
    body = "\n".join(_chapter(chapter, fps) for chapter in chapters)
    return template.substitute(links=links, size=size, films="\n".join(map(_film, films)), chapters=body)


def _film(film: Film) -> str:
    return f"""<figure class="film">
<video src="{escape(film.video)}" poster="{escape(film.poster)}" muted loop playsinline controls preload="none"></video>
<figcaption><p class="facts"><b>{escape(_title(film.task))}</b> {_verdict(film.success)}
<span>{film.waypoint_distance:.3f} m off</span> <span>{film.steps} steps</span>
<span>{film.seconds:.2f} s a plan</span></p></figcaption></figure>"""


def _verdict(success: bool) -> str:
    return '<b class="yes">solved</b>' if success else '<b class="no">not solved</b>'


def _chapter(chapter: Chapter, fps: float) -> str:
    solved = sum(clip.success for clip in chapter.clips)
    cards = "\n".join(_card(clip, fps) for clip in chapter.clips)
    return f"""<section id="{escape(chapter.task)}">
<h2>{escape(_title(chapter.task))} <small>{solved} of {len(chapter.clips)} solved</small></h2>
<p>{escape(chapter.about)}</p>
<div class="grid">
{cards}
</div>
</section>"""


def _card(clip: Clip, fps: float) -> str:
    first = clip.instructions[0][1] if clip.instructions else ""
    told = escape(json.dumps({"fps": fps, "instructions": clip.instructions, "phrases": clip.phrases}))
    return f"""<figure data-told="{told}">
<video src="{escape(clip.video)}" poster="{escape(clip.poster)}" muted loop playsinline controls preload="none"></video>
<figcaption><p class="instruction">{escape(first)}</p><p class="phrase">&nbsp;</p>
<p class="facts">{_verdict(clip.success)} <span>{clip.waypoint_distance:.3f} m off</span>
<span>{clip.steps} steps</span></p>
</figcaption></figure>"""


def _title(task: str) -> str:
    return task.replace("_", " ").capitalize()
