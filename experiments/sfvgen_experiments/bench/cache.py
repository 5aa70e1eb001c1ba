"""What the shared past is worth: `sfvgen bench cache`.

One episode, many candidates, 24 past and 8 new frames. With the cache the past is looked at once for all candidates and
denoising steps; without it every candidate carries the whole window through every step. Weights do not matter for time,
so a fresh causal denoiser is measured, and both ways are checked to give equal frames.
"""

import numpy as np
import torch

from sfvgen_experiments.bench.timing import in_turns
from sfvgen_planner.world.causal import CausalConfig, CausalDenoiser
from sfvgen_planner.world.conditions import Conditions

PAST, NEW = 24, 8


def main(
    candidates: int = 32, steps: int = 4, repeats: int = 5, dim: int = 128, depth: int = 5, threads: int = 2
) -> dict[str, float]:
    """Prints and returns medians; both ways in turns, and the ratio pair by pair, so that a slow moment hits both."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = CausalConfig(dim=dim, depth=depth)
    model = CausalDenoiser(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    draw = torch.Generator().manual_seed(0)
    shape = (config.channels, config.height, config.width)
    past, seen = torch.randn(1, PAST, *shape, generator=draw), _conditions(config, 1, PAST, draw)
    noise, told = (
        torch.randn(candidates, NEW, *shape, generator=draw),
        _conditions(config, candidates, NEW, draw),
    )
    level = torch.full((candidates, NEW), 0.5)
    window = Conditions.join(seen.repeat(candidates), told)

    @torch.no_grad()
    def shared(steps: int) -> torch.Tensor:
        cache = model.prefill(past, seen)
        for _ in range(steps):
            output = model.denoise(cache, noise, level, told).output
        return output

    @torch.no_grad()
    def whole(steps: int) -> torch.Tensor:
        latents = torch.cat([past.repeat_interleave(candidates, 0), noise], 1)
        levels = torch.cat([level.new_zeros(candidates, PAST), level], 1)
        for _ in range(steps):
            output: torch.Tensor = model(latents, levels, window).output[:, PAST:]
        return output

    torch.testing.assert_close(shared(1), whole(1), rtol=1e-4, atol=1e-4)
    taken = in_turns(repeats, lambda: shared(steps), lambda: whole(steps))
    cached, uncached = np.median(taken, axis=0)
    ratio = float(np.median(taken[:, 1] / taken[:, 0]))
    frames = candidates * NEW
    ceiling = (PAST + NEW) / NEW
    result = {
        "cached_frames_per_second": frames / cached,
        "uncached_frames_per_second": frames / uncached,
        "ratio": ratio,
        "ceiling": ceiling,
        "share_of_ceiling": ratio / ceiling,
    }
    for name, value in result.items():
        print(f"{name:28}{value:10.2f}")
    return result


def _conditions(config: CausalConfig, rows: int, frames: int, draw: torch.Generator) -> Conditions:
    return Conditions(
        torch.randn(rows, frames, config.frame_size, generator=draw),
        torch.randn(rows, frames, config.address_size, *config.grid, generator=draw),
    )


if __name__ == "__main__":
    main()
