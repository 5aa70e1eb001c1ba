"""Five robot and driving tasks that need no GPU and no GL; importing this package registers them with Gymnasium.

`gymnasium.make("sfvgen_envs:sfvgen/CubeReturn-v0")` imports it by itself.
"""

from gymnasium.envs.registration import register, registry

from sfvgen_envs.headless import repair_gl

TASKS = {
    "reach": "sfvgen/Reach-v0",
    "push_cube": "sfvgen/PushCube-v0",
    "cube_return": "sfvgen/CubeReturn-v0",
    "lane_keep": "sfvgen/LaneKeep-v0",
    "route_return": "sfvgen/RouteReturn-v0",
}
"""Short names, as on the command line, and ids."""

_ENTRY_POINTS = {
    "sfvgen/Reach-v0": "sfvgen_envs.reach:Reach",
    "sfvgen/PushCube-v0": "sfvgen_envs.push_cube:PushCube",
    "sfvgen/CubeReturn-v0": "sfvgen_envs.cube_return:CubeReturn",
    "sfvgen/LaneKeep-v0": "sfvgen_envs.lane_keep:LaneKeep",
    "sfvgen/RouteReturn-v0": "sfvgen_envs.route_return:RouteReturn",
}

_DREAM = "sfvgen/Dream-v0"
"""`make(_DREAM, task=...)` and `make_vec(_DREAM, num_envs=..., task=...)`; these two load torch."""

repair_gl()  # before a task's module imports MuJoCo

# Entry points are strings: importing this package loads neither MuJoCo nor torch.
for _id, _entry in _ENTRY_POINTS.items():
    if _id not in registry:
        register(_id, entry_point=_entry)
if _DREAM not in registry:
    register(
        _DREAM,
        entry_point="sfvgen_envs.dream:DreamEnv",
        vector_entry_point="sfvgen_envs.dream:DreamVectorEnv",
    )
