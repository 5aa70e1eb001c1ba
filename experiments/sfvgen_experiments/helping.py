"""Help pages, read as text from the commands' YAML: the comments there are the only place that explains an option.

Neither Hydra nor a YAML parser is imported, so help answers at once. A command's file looks like this:

    # What the command does, in a few lines.
    #
    # sfvgen collect task=reach episodes=20          <- examples
    task: reach  # what the option means
"""

import re
import shutil
import textwrap
from dataclasses import dataclass
from importlib.resources import files

_OPTION = re.compile(r"^(?P<key>[A-Za-z_]\w*):\s*(?P<value>.*?)\s*(?:\s#\s*(?P<meaning>.*))?$")
_DEFAULT = re.compile(r"^\s+-\s+(?:override\s+)?(?P<key>[A-Za-z_]\w*):\s*(?P<value>\S+)\s*(?:#\s*(?P<meaning>.*))?$")
_COMMENT = re.compile(r"^\s*# ?(?P<text>.*)$")


@dataclass(frozen=True)
class Option:
    """One `key=value` of a command."""

    key: str
    default: str
    meaning: str


def config_name(command: str) -> str:
    """`bench camera` has its options in `bench-camera.yaml`: in a folder, Hydra would take its name for a choice."""
    return command.replace(" ", "-")


def options(command: str) -> list[Option]:
    """Every option of a command, in the order of its file."""
    found: list[Option] = []
    for line in _text(command).splitlines():
        match = _OPTION.match(line) or _DEFAULT.match(line)
        comment = _COMMENT.match(line)
        if match and match["key"] not in ("defaults", "hydra"):
            found.append(Option(match["key"], match["value"], match["meaning"] or ""))
        elif comment and found and line.startswith(" "):
            last = found[-1]
            found[-1] = Option(last.key, last.default, f"{last.meaning} {comment['text'].strip()}")
    return found


def page(command: str, summary: str) -> str:
    """The answer to `sfvgen <command> --help`."""
    head = _head(command)
    examples = [f"  {line}" for line in head if line.startswith("sfvgen ")]
    prose = [line for line in head if not line.startswith("sfvgen ")]
    known = options(command)
    width = max((len(f"{option.key}={_shown(option.default)}") for option in known), default=0)
    rows = [_row(f"{option.key}={_shown(option.default)}", option.meaning, min(width, 34)) for option in known]
    about = "\n".join(prose).strip() or summary
    return "\n".join(
        [
            f"sfvgen {command}: {summary}",
            "",
            about,
            "",
            "Options are key=value, here with their defaults:" if known else "It has no options.",
            *rows,
            "",
            "Examples:",
            *examples,
            "",
            "A list is key=[a,b]; quote it if your shell minds. `-m key=a,b` makes several runs.",
        ]
    )


def overview(commands: dict[str, str]) -> str:
    """The answer to `sfvgen --help`."""
    width = max(len(name) for name in commands)
    rows = [f"  {name.ljust(width)}  {line}" for name, line in commands.items()]
    return "\n".join(
        [
            "sfvgen: a learned video world that remembers, searched by a planner.",
            "",
            "  sfvgen <command> [key=value ...]",
            "",
            *rows,
            "",
            "`sfvgen <command> --help` lists a command's options; start with `sfvgen demo`.",
        ]
    )


def _row(left: str, meaning: str, width: int) -> str:
    first, *rest = textwrap.wrap(meaning, max(40, shutil.get_terminal_size().columns - width - 5)) or [""]
    indent = " " * (width + 4)
    # An option too long for its column has a line of its own.
    head = f"  {left.ljust(width)}  {first}" if len(left) <= width else f"  {left}\n{indent}{first}"
    return "\n".join([head, *(indent + line for line in rest)])


def _shown(default: str) -> str:
    return "<needed>" if default == "???" else default


def _head(command: str) -> list[str]:
    lines: list[str] = []
    for line in _text(command).splitlines():
        comment = _COMMENT.match(line)
        if not comment:
            break
        if not comment["text"].startswith("@"):  # Hydra's own directives
            lines.append(comment["text"].rstrip())
    return lines


def _text(command: str) -> str:
    return (files("sfvgen_configs") / f"{config_name(command)}.yaml").read_text(encoding="utf-8")
