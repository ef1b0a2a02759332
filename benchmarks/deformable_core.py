"""The deformable core against the usual formulation, forward and backward.

Claim: at the injector's and extractor's shapes of ViT-Adapter-S for 512 x 512 pixels, batch 1, the
bags of `backbones.vit_adapter.deform_attention` are at least 1.5 times as fast as one `grid_sample`
per level with the heads folded into the batch. Both run in turn in one process, on the same inputs;
results are compared first. The ratio is that of the medians.

    OMP_WAIT_POLICY=passive python benchmarks/deformable_core.py --threads 2 --rounds 15

Waiting passively keeps a machine that is also doing something else from turning every barrier
between threads into a time slice; on an idle machine it makes no difference.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from backbones.vit_adapter.deform_attention import Grid, centres, deformable_sum, ring

HEADS, CHANNELS, POINTS, SIDE = 6, 64, 4, 512
Core = Callable[[Tensor, Sequence[Grid], Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """One use of the core: maps of which strides ask, maps of which strides answer."""

    name: str
    query_strides: tuple[int, ...]
    value_strides: tuple[int, ...]


SHAPES = (Shape("injector", (16,), (8, 16, 32)), Shape("extractor", (8, 16, 32), (16,)))


def by_grid_sample(
    value: Tensor, grids: Sequence[Grid], locations: Tensor, weights: Tensor
) -> Tensor:
    """The usual formulation."""
    images, _, heads, channels = value.shape
    queries, points = locations.shape[1], locations.shape[4]
    cells = torch.split(value, [height * width for height, width in grids], dim=1)
    places = 2 * locations - 1
    sampled = []
    for level, (part, grid) in enumerate(zip(cells, grids, strict=True)):
        maps = part.flatten(2).transpose(1, 2).reshape(images * heads, channels, *grid)
        at = places[:, :, :, level].transpose(1, 2).flatten(0, 1)
        sampled.append(F.grid_sample(maps, at, mode="bilinear", align_corners=False))
    shares = weights.transpose(1, 2).reshape(images * heads, 1, queries, len(grids) * points)
    summed = (torch.stack(sampled, dim=-2).flatten(-2) * shares).sum(-1)
    return summed.view(images, heads * channels, queries).transpose(1, 2).contiguous()


def inputs(shape: Shape, device: torch.device) -> tuple[Tensor, list[Grid], Tensor, Tensor]:
    """Value, grids, locations around the queries' centres, and weights."""
    torch.manual_seed(0)
    grids, query_grids = (
        [(SIDE // stride, SIDE // stride) for stride in strides]
        for strides in (shape.value_strides, shape.query_strides)
    )
    levels = len(grids)
    places = centres(query_grids, device)[None, :, None, None, None]
    offsets = ring(HEADS, levels, POINTS).view(HEADS, levels, POINTS, 2).to(device)
    offsets = offsets + torch.randn(1, places.shape[1], *offsets.shape, device=device)
    sizes = torch.tensor([(width, height) for height, width in grids], device=device)[:, None]
    weights = torch.randn(1, places.shape[1], HEADS, levels * POINTS, device=device).softmax(-1)
    value = torch.randn(1, sum(h * w for h, w in grids), HEADS, CHANNELS, device=device)
    return value, grids, places + offsets / sizes, torch.unflatten(weights, -1, (levels, POINTS))


def step(core: Core, case: tuple[Tensor, list[Grid], Tensor, Tensor]) -> tuple[float, list[Tensor]]:
    """Seconds of a forward and a backward pass, and what they give."""
    value, grids, locations, weights = case
    leaves = [x.detach().requires_grad_() for x in (value, locations, weights)]
    wait(value.device)
    start = time.perf_counter()
    out = core(leaves[0], grids, leaves[1], leaves[2])
    gradients = torch.autograd.grad(out, leaves, torch.ones_like(out))
    wait(value.device)
    return time.perf_counter() - start, [out.detach(), *gradients]


def wait(device: torch.device) -> None:
    """Let a GPU finish."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def compare(shape: Shape, rounds: int, device: torch.device) -> str:
    """One line: both medians and their ratio."""
    case = inputs(shape, device)
    usual, ours = step(by_grid_sample, case)[1], step(deformable_sum, case)[1]
    for expected, found in zip(usual, ours, strict=True):
        # A location within rounding of a cell's centre may see another pair of cells: its
        # gradient, and only that, then differs.
        wrong = (found - expected).abs() > 1e-3 * expected.abs().max()
        assert wrong.float().mean() < 1e-3
    times: dict[Core, list[float]] = {by_grid_sample: [], deformable_sum: []}
    for _ in range(rounds):
        for core, seconds in times.items():
            seconds.append(step(core, case)[0])
    before, after = (1e3 * statistics.median(seconds) for seconds in times.values())
    fast = 1e3 * min(times[deformable_sum])
    return (
        f"{shape.name:<10} grid_sample {before:7.1f} ms   bags {after:7.1f} ms (best {fast:.1f})   "
        f"ratio {before / after:.2f}\n"
    )


def main() -> None:
    """Print a line per shape."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for shape in SHAPES:
        sys.stdout.write(compare(shape, arguments.rounds, arguments.device))


if __name__ == "__main__":
    main()
