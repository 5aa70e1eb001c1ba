"""The README is true: its Python runs as written, and what it names exists."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import sfvgen_envs
from sfvgen_experiments import cli
from sfvgen_experiments.collect import Collect, record

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def printed(code: list[str], folder: Path) -> str:
    """What Python blocks print that run one after the other."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(code)], capture_output=True, text=True, cwd=folder, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_python_blocks_run(tmp_path: Path) -> None:
    found = blocks("python")
    assert len(found) >= 4
    said = printed(found, tmp_path)
    assert "(16, 8, 64, 64, 3) (16, 8, 4)" in said
    assert "put the " in said


@pytest.mark.slow
def test_python_blocks_of_the_data_page_run(tmp_path: Path) -> None:
    record(Collect("reach", 3, out=str(tmp_path / "outputs/collect/reach")))
    said = printed(blocks("python", (ROOT / "docs/data.md").read_text()), tmp_path)
    assert "3 expert" in said
    assert "(4, 16, 64, 64, 3)" in said


def test_shell_blocks_name_targets_of_the_makefile() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    asked = re.findall(r"^make ([a-z-]+)", "\n".join(blocks("bash")), re.MULTILINE)
    assert {"demo", "test"} <= set(asked) <= set(targets)


def test_every_task_and_command_is_named() -> None:
    for task, identity in sfvgen_envs.TASKS.items():
        assert f"| `{task}` | `{identity}` |" in README
    for command in cli.COMMANDS:
        assert f"`sfvgen {command}`" in README or f"`{command}`" in README
    for command in re.findall(r"`sfvgen ([a-z]+)`", README):
        assert any(name.split()[0] == command for name in cli.COMMANDS), command


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


def test_the_picture_is_small() -> None:
    assert (ROOT / "docs/demo.png").stat().st_size < 300_000
