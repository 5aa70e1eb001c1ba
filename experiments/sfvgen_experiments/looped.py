"""A world and where its memories begin: a plain world, or what `sfvgen loop` has made of one."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sfvgen_planner.memory import Memory, MemoryConfig, load, start
from sfvgen_planner.world.model import WorldModel


@dataclass(frozen=True)
class Looped:
    """See the module's docstring."""

    world: WorldModel
    learned: Memory | None = None
    """one row, that begins: the loop's; None: nothing was learned of it"""

    @staticmethod
    def of(folder: str | None) -> "Looped":
        """From a world's folder, or the folder of a loop; None: the shipped world."""
        loop = None if folder is None else Path(folder)
        if loop is None or not (loop / "start").is_dir():
            return Looped(WorldModel.from_pretrained(loop))
        world = WorldModel.from_pretrained(loop / "world")
        return Looped(world, load(world, loop / "start"))

    def begin(self, how: MemoryConfig, rows: int, seeds: Tensor | None = None) -> Memory:
        """Memories of episodes that begin."""
        if self.learned is None or how.variant == "off":
            return start(self.world, how, rows, seeds=seeds)
        return start(self.world, how, rows, self.learned.factors, seeds, self.learned.pace)
