"""What is installed: five prefixed packages and nothing else, light to import, whole without any extra."""

import re
import subprocess
import sys
import zipfile
from importlib.metadata import requires
from pathlib import Path

import pytest

import sfvgen_envs
from sfvgen_planner.metrics.judge_file import load_judge
from sfvgen_planner.world.model import SHIPPED, WorldModel

ROOT = Path(__file__).parents[1]
PACKAGES = ("sfvgen_planner", "sfvgen_envs", "sfvgen_agents", "sfvgen_configs", "sfvgen_experiments")


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_wheel_installs_only_prefixed_packages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    configs = {
        f"sfvgen_configs/{p.relative_to(ROOT / 'configs/sfvgen_configs')}" for p in ROOT.glob("configs/**/*.yaml")
    }
    assert configs
    assert configs <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    shipped = {
        str(path.relative_to(ROOT)) for path in (ROOT / "sfvgen_planner/pretrained").rglob("*") if path.is_file()
    }
    assert shipped <= set(names)


def test_what_is_shipped_is_small_and_knows_all_tasks() -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16 * 2**20
    assert not [path for path in files if path.suffix not in (".json", ".safetensors", ".md")]
    world, judge = WorldModel.from_pretrained(), load_judge()
    assert {body.name for body in world.encoder.layout.embodiments} == set(sfvgen_envs.TASKS)
    assert {task.task for task in judge.judge.layout.tasks} == set(sfvgen_envs.TASKS.values())
    assert judge.card["run"]["steps"] > 0


def test_importing_the_environments_loads_neither_torch_nor_mujoco() -> None:
    loaded = python("import sfvgen_envs, sys; print(*sys.modules)").split()
    assert "gymnasium" in loaded
    assert not {"torch", "mujoco", "hydra", "imageio", "PIL"} & set(loaded)


# Imported by extras, by development tools, or by nothing of ours: a base install has none of these.
EXTRAS = {
    *("pytest", "xdist", "hypothesis", "ruff", "mypy", "importlinter", "build", "hatchling"),
    *("minari", "jsonschema", "Box2D", "pygame", "cv2", "moviepy", "matplotlib", "scipy", "pandas", "sb3_contrib"),
    *("jax", "metaworld", "highway_env", "av", "ray", "torchvision", "timm", "lpips", "torchmetrics", "scenedetect"),
}

WALK = """
import sys, pkgutil, importlib.machinery
blocked, finders = {blocked!r}, list(sys.meta_path)
class Without:  # as if not installed: whoever only asks whether a package is there must be told no, not get an error
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in blocked:
            return None
        return next((spec for finder in finders if (spec := finder.find_spec(name, path, target))), None)
    find_distributions = importlib.machinery.PathFinder.find_distributions
sys.meta_path[:] = [Without]
for package in {packages!r}:
    home = importlib.import_module(package)
    for module in pkgutil.walk_packages(home.__path__, package + "."):
        importlib.import_module(module.name)
        print(module.name)
"""


def test_every_module_imports_without_any_extra() -> None:
    assert "ModuleNotFoundError" in python(
        WALK.format(blocked=EXTRAS, packages=())
        + """
try:
    import minari
except ModuleNotFoundError as error:
    print(repr(error))
"""
    )
    imported = python(WALK.format(blocked=EXTRAS, packages=PACKAGES)).split()
    assert {"sfvgen_envs.task", "sfvgen_planner.types", "sfvgen_experiments.cli"} <= set(imported)


def test_every_requirement_has_an_exact_pin() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", pin) for pin in pins), "a local or loose version"
    pinned = {_plain(pin.split("==")[0]) for pin in pins}
    asked = [
        line for line in requires("sfvgen-planner") or [] if "extra" not in line or "'dev'" in line.replace('"', "'")
    ]
    missing = {_plain(re.split(r"[\[<>=; ]", line)[0]) for line in asked} - pinned
    assert not missing
    assert "torch==2.13.0" in pins


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
