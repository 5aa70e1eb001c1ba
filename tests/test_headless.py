"""A machine without GL, or with half of one, still has all tasks."""

import os
import subprocess
import sys

import pytest

from sfvgen_envs.headless import repair_gl


@pytest.mark.parametrize("name", ["egl", "osmesa", "EGL"])
def test_a_library_that_does_not_load_is_taken_back(monkeypatch, name):
    monkeypatch.setattr("sfvgen_envs.headless.find_library", lambda library: "no-such-library.so")
    monkeypatch.setenv("MUJOCO_GL", name)
    repair_gl()
    assert os.environ["MUJOCO_GL"] == "disable"


@pytest.mark.parametrize("name", ["egl", "osmesa"])
def test_a_library_that_loads_is_left_alone(monkeypatch, name):
    monkeypatch.setattr("sfvgen_envs.headless.find_library", lambda library: None)
    monkeypatch.setattr("ctypes.CDLL", lambda library: object())
    monkeypatch.setenv("MUJOCO_GL", name)
    repair_gl()
    assert os.environ["MUJOCO_GL"] == name


@pytest.mark.parametrize("name", [None, "", "glfw", "disable"])
def test_what_needs_no_library_is_left_alone(monkeypatch, name):
    monkeypatch.delenv("MUJOCO_GL", raising=False) if name is None else monkeypatch.setenv("MUJOCO_GL", name)
    repair_gl()
    assert os.environ.get("MUJOCO_GL") == name


@pytest.mark.parametrize("name", ["egl", "osmesa"])
def test_gym_make_works_whatever_mujoco_gl_says(name):
    code = "import gymnasium as gym; gym.make('sfvgen_envs:sfvgen/Reach-v0', size=16).reset(seed=0)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "MUJOCO_GL": name}, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
