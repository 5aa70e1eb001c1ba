"""The `sfvgen` command: finds the sub-command, answers --help at once, hands the rest to Hydra.

Nothing heavy is imported before a command really runs: `sfvgen --help` has to answer in well under a second.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from sfvgen_experiments import helping
from sfvgen_planner.errors import BadOption, SfvgenError, UnknownName, closest

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("sfvgen_experiments.demo:main", "record every task and make one page of videos"),
    "collect": ("sfvgen_experiments.collect:main", "record episodes of a task into a data set"),
    "inspect": ("sfvgen_experiments.inspect_data:main", "tell what a data set holds, and draw it on one sheet"),
    "import": ("sfvgen_experiments.import_data:main", "turn another environment, or your videos, into a data set"),
    "merge": ("sfvgen_experiments.merge:main", "join data sets into a new one"),
    "eval": ("sfvgen_experiments.evaluate:main", "measure an agent on a suite of fixed episodes"),
    "rl": ("sfvgen_experiments.rl:main", "train a policy in the dream, and judge it in the true task"),
    "train-codec": ("sfvgen_experiments.train:main_codec", "train what turns frames into latents and back"),
    "train": ("sfvgen_experiments.train:main", "train the slow world on data sets"),
    "loop": ("sfvgen_experiments.slow_fast:main", "let a world learn to read what its memories write"),
    "memory add": ("sfvgen_experiments.banking:add", "remember episodes into a bank"),
    "memory list": ("sfvgen_experiments.banking:listing", "tell what a bank of memories holds"),
    "memory show": ("sfvgen_experiments.banking:show", "show the card of a memory"),
    "memory recall": ("sfvgen_experiments.banking:recall", "tell which memories a view calls up"),
    "memory merge": ("sfvgen_experiments.banking:merge", "merge memories into a new one"),
    "memory forget": ("sfvgen_experiments.banking:forget", "remove memories from a bank"),
    "memory export": ("sfvgen_experiments.banking:export", "copy memories into another bank"),
    "memory import": ("sfvgen_experiments.banking:import_from", "copy memories out of another bank"),
    "memory verify": ("sfvgen_experiments.banking:verify", "compare every memory with its checksum"),
    "consolidate": ("sfvgen_experiments.consolidating:main", "let a bank's episodes sink into the slow weights"),
    "train-judge": ("sfvgen_experiments.train_judge:main", "train and measure the network that judges videos"),
    "pack": ("sfvgen_experiments.pack:main", "write a trained world in half precision, to ship it"),
    "imagine": ("sfvgen_experiments.imagine:main", "write truth and dream side by side as mp4"),
    "plan": ("sfvgen_experiments.plan:main", "let a planner play a task, and film what it imagines"),
    "bench plan": ("sfvgen_experiments.bench.plan:main", "measure planners against other agents on a suite"),
    "probe memory": ("sfvgen_experiments.probe.memory:main", "ask a made-up world whether its memories recall"),
    "bench ranking": ("sfvgen_experiments.bench.ranking:main", "measure whether a world puts candidates in order"),
    "bench planning_speed": ("sfvgen_experiments.bench.planning_speed:main", "measure how quick plans are"),
    "bench camera": ("sfvgen_experiments.bench.camera:main", "measure how fast the ray camera draws"),
    "bench tasks": ("sfvgen_experiments.bench.tasks:main", "measure how many steps a second each task makes"),
    "bench memory_need": ("sfvgen_experiments.bench.memory_need:main", "show that the memory tasks need memory"),
    "bench bank": ("sfvgen_experiments.bench.bank:main", "measure how quick a large bank of memories is"),
    "bench memory": ("sfvgen_experiments.bench.memory:main", "measure what memories recall of real tasks"),
    "bench revisit": ("sfvgen_experiments.bench.revisit:main", "measure whether places are dreamt as they were"),
    "bench checks": ("sfvgen_experiments.bench.checks:main", "measure a memory's parts, its room and its reach"),
    "bench rounds": ("sfvgen_experiments.bench.rounds:main", "measure what nights of consolidation are worth"),
    "bench tables": ("sfvgen_experiments.bench.tables:main", "make the paper's four tables again"),
    "bench memory_cost": ("sfvgen_experiments.bench.memory_cost:main", "measure what remembering costs"),
    "bench memory_rows": ("sfvgen_experiments.bench.memory_rows:main", "measure writing many memories at once"),
    "bench slow": ("sfvgen_experiments.bench.slow:main", "measure the slow world on held-out windows"),
    "bench drift": ("sfvgen_experiments.bench.drift:main", "measure how far foreseen poses drift"),
    "bench things": ("sfvgen_experiments.bench.things:main", "measure how well things are found by name"),
    "bench leak": ("sfvgen_experiments.bench.leak:main", "measure how later actions leak into earlier frames"),
    "bench codec": ("sfvgen_experiments.bench.codec:main", "measure what survives the codec"),
    "bench cache": ("sfvgen_experiments.bench.cache:main", "measure what the shared past is worth"),
    "bench speed": ("sfvgen_experiments.bench.speed:main", "measure planning against sampling as in the paper"),
    "bench dream": ("sfvgen_experiments.bench.dream:main", "measure steps a second of the dream as an environment"),
    "bench rl": ("sfvgen_experiments.bench.rl:main", "measure what training in the dream is worth outside it"),
    "bench trust": ("sfvgen_experiments.bench.trust:main", "measure how far a dream's returns are to be trusted"),
    "bench data": ("sfvgen_experiments.bench.data:main", "measure how fast episodes are written and windows read"),
}
"""Command: (function that runs it, one line of help). Its options are in `sfvgen_configs/<command>.yaml`."""

OURS, BUG, INTERRUPTED = 2, 1, 130
"""Exit codes: something was asked wrongly; a fault of ours; Ctrl-C."""

# Hydra would change folder names, write a `.hydra` folder and log files for every run; our commands write what they
# are asked to write and nothing else. What the user gives himself wins.
QUIET = {
    "hydra.run.dir": ".",
    "hydra.sweep.dir": "outputs/multirun",
    "hydra.output_subdir": "null",
    "hydra/job_logging": "none",
    "hydra/hydra_logging": "none",
}

HYDRA_FLAGS = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--experimental-rerun")
"""Those of Hydra's own flags that take the next word."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs `sfvgen` and exits: 0 done, 2 asked wrongly (one line says how), 1 a bug, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        dispatch(words)
    except SfvgenError as error:
        _report(error, str(error), OURS, debug)
    except KeyboardInterrupt as error:
        _report(error, "interrupted; what was finished before is whole", INTERRUPTED, debug)
    except BrokenPipeError:
        # The reader (`| head`) has left; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        hint = "" if debug else " (this should not happen; --debug shows where)"
        _report(error, f"{type(error).__name__}: {error}{hint}", BUG, debug)
    sys.exit(0)


def dispatch(words: list[str]) -> None:
    """Answers what needs no Hydra (help, version), or runs one command."""
    asks_help = any(word in ("--help", "-h") for word in words)
    bare, rest = _split(words)
    if not bare:
        if "--version" in rest:
            from sfvgen_planner import __version__

            print(f"sfvgen {__version__}")
        elif asks_help or not rest:
            print(helping.overview({name: line for name, (_, line) in COMMANDS.items()}))
        else:
            raise UnknownName(f"option {rest[0]!r}", "a command first", "See: sfvgen --help")
        return
    family = {name: line for name, (_, line) in COMMANDS.items() if name.startswith(f"{bare[0]} ")}
    if asks_help and len(bare) == 1 and family:
        print(helping.overview(family))
        return
    command = find(bare)
    options = helping.options(command)
    if asks_help:
        print(helping.page(command, COMMANDS[command][1]))
        return
    _check(rest, command, tuple(option.key for option in options))
    run(command, rest)


def find(bare: list[str]) -> str:
    """The command that the bare words name."""
    for count in range(len(bare), 0, -1):
        name = " ".join(bare[:count])
        if name in COMMANDS:
            if count < len(bare):
                example = helping.options(name)[0].key
                raise BadOption(
                    f"the word {bare[count]!r}", "options as key=value", f"Perhaps {example}={bare[count]}?"
                )
            return name
    given = " ".join(bare)
    family = [name for name in COMMANDS if name.startswith(f"{given} ")]
    if family:
        raise UnknownName(f"command {given!r}", f"one of {family}", f"See: sfvgen {given} --help")
    raise UnknownName(f"command {given!r}", "one of those that `sfvgen --help` lists", closest(given, tuple(COMMANDS)))


def run(command: str, overrides: list[str]) -> None:
    """Composes the command's configuration with Hydra and runs it."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from sfvgen_envs.headless import repair_gl
    from sfvgen_experiments.configuring import bound

    repair_gl()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come to us as they are, instead of being printed by Hydra
    if os.getcwd() not in sys.path:  # `module:Class` may be in the folder the user stands in
        sys.path.append(os.getcwd())
    function = _load(COMMANDS[command][0])

    failures: list[Exception] = []

    def job(composed: DictConfig) -> None:
        if failures:
            return
        try:
            values: Any = OmegaConf.to_container(composed, resolve=True)
            given = {key: value for key, value in values.items() if value != "???"}
            bound(function, given, f"sfvgen {command}")()
        except Exception as error:  # carried past Hydra, which would print its own two lines
            failures.append(error)

    own = {override.split("=", 1)[0].lstrip("+~") for override in overrides}
    quiet = [f"{key}={value}" for key, value in QUIET.items() if key not in own]
    flags = [word for before, word in _pairs(overrides) if word.startswith("-") or before in HYDRA_FLAGS]
    options = [word for word in overrides if word not in flags]
    sys.argv = [f"sfvgen {command}", *quiet, *options, *flags]  # argparse wants its positionals in one piece
    wrapped = hydra.main(
        version_base="1.3", config_path="pkg://sfvgen_configs", config_name=helping.config_name(command)
    )
    try:
        wrapped(job)()
    except (HydraException, OmegaConfBaseException) as error:
        if isinstance(error.__cause__, SfvgenError):
            raise error.__cause__ from error
        first = str(error).strip().splitlines()[0].rstrip(".")
        raise BadOption(first, "options that Hydra understands", f"See: sfvgen {command} --help") from error
    if failures:
        raise failures[0]


def _load(target: str) -> Callable[..., None]:
    from importlib import import_module

    module, name = target.split(":")
    function: Callable[..., None] = getattr(import_module(module), name)
    return function


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Bare words before the first option, and the rest."""
    for place, word in enumerate(words):
        if "=" in word or word.startswith(("-", "+", "~")):
            return words[:place], words[place:]
    return words, []


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    """Each word with the one before it."""
    return list(zip(["", *words], words, strict=False))


def _check(rest: list[str], command: str, keys: tuple[str, ...]) -> None:
    """Refuses misspelt options here, where we know all names, rather than in Hydra's words."""
    seen: set[str] = set()
    for before, word in _pairs(rest):
        key, equals, _ = word.partition("=")
        if word.startswith("-") or before in HYDRA_FLAGS or key.lstrip("+~").startswith("hydra"):
            continue
        if not equals and not key.startswith("~"):
            raise BadOption(f"the word {word!r}", "options as key=value", f"See: sfvgen {command} --help")
        name = key.lstrip("+~").split(".")[0].split("@")[0]
        if name not in keys:
            raise UnknownName(f"option {name!r}", f"an option of `sfvgen {command}`", closest(name, keys))
        if key in seen:  # what a shell makes of an unquoted key={a:1,b:1}
            raise BadOption(f"{key}= twice", "every option once", f"With braces, quote it: '{key}={{a:1,b:1}}'")
        seen.add(key)


def _report(error: BaseException, line: str, code: int, debug: bool) -> NoReturn:
    if debug:
        import traceback

        traceback.print_exception(error)
    print(f"error: {' '.join(line.split())}", file=sys.stderr)
    sys.exit(code)
