"""`sfvgen pack`: a trained world in half precision, small enough to travel with the package."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from sfvgen_planner.errors import BadOption
from sfvgen_planner.world.model import WorldModel

MEGABYTE = 2**20


@dataclass(frozen=True)
class Pack:
    """Options of `sfvgen pack`."""

    world: str = "outputs/world/world"
    out: str = "outputs/packed"
    most: float = 16.0


def main(config: Pack) -> float:
    """Writes it and says how big it is, in MB; what else lies in `out`, a model card say, is left alone."""
    folder = Path(config.out)
    packed = deepcopy(WorldModel.from_pretrained(config.world)).half()
    size = sum(value.numel() * value.element_size() for value in packed.state_dict().values()) / MEGABYTE
    if size > config.most:
        raise BadOption(f"a world of {size:.1f} MB", f"{config.most:g} MB at most", "Train a smaller one, or set most.")
    packed.save_pretrained(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / MEGABYTE
    print(f"{folder}: {size:.1f} MB")
    return size
