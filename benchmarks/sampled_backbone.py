"""MIMDet's backbone on a share of the tokens against all of them: time beside multiply-accumulates.

    python benchmarks/sampled_backbone.py               ViT-Base at 512 x 512
    python benchmarks/sampled_backbone.py --width 192   a small one, for slow machines

Claim: the time ratio is at most 1.25 times the multiply-accumulate ratio, forward and backward.
Each share runs in alternation with the whole, and its ratio is the median over the rounds. The
exit code is 1 where the claim does not hold.
"""

import argparse
import statistics
import sys
from collections.abc import Callable

import torch
from alternation import in_alternation, median_ratio, spread
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from backbones.mimdet import MIMDet, MIMDetOptions
from mimdet_cli.build import choose_device
from mimdet_cli.text_table import align

LIMIT = 1.25
SHARES = (0.125, 0.25, 0.5, 0.75)


def options_of(width: int, depth: int) -> MIMDetOptions:
    """Base's proportions at another width: decoder two thirds as wide, heads of 64 and 32."""
    decoder = width * 2 // 3
    return MIMDetOptions(
        width=width,
        depth=depth,
        heads=width // 64,
        decoder_width=decoder,
        decoder_heads=decoder // 32,
    )


def step(backbone: MIMDet, images: torch.Tensor, share: float) -> Callable[[], None]:
    """One forward and backward pass on a share of the tokens, as a function."""
    sizes = torch.tensor([images.shape[-2:]] * len(images), device=images.device)
    options = backbone.options.model_copy(update={"train_ratio": share})

    def run() -> None:
        backbone.options = options
        backbone.zero_grad()
        loss = torch.stack([x.mean() for x in backbone(images, sizes).values()]).sum()
        torch.autograd.backward(loss)

    return run


def multiply_accumulates(run: Callable[[], None]) -> int:
    """Multiply-accumulates of a call; attention is spelt out, as fused kernels may not count."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--width", type=int, default=768, help="a multiple of 192")
    parser.add_argument("--depth", type=int, default=12, help="encoder blocks")
    parser.add_argument("--pixels", type=int, default=512, help="side of the image")
    parser.add_argument("--batch", type=int, default=1, help="images")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each share")
    parser.add_argument("--device", help="cpu, cuda, ...; the GPU if there is one")
    arguments = parser.parse_args()
    if arguments.width % 192:
        parser.error("--width has to be a multiple of 192")
    return arguments


def main() -> int:
    """Build, count, time, print; 1 where the claim does not hold."""
    arguments = parse()
    device = choose_device(arguments.device)
    torch.manual_seed(0)
    backbone = MIMDet(options_of(arguments.width, arguments.depth)).to(device).train()
    side = arguments.pixels
    images = torch.randn(arguments.batch, 3, side, side, device=device)
    functions = {f"{share:.1%}": step(backbone, images, share) for share in (1.0, *SHARES)}
    macs = {label: multiply_accumulates(run) for label, run in functions.items()}
    times = in_alternation(functions, arguments.rounds, device)
    whole = next(iter(functions))
    rows, broken = [], []
    for label, seconds in times.items():
        work, time = macs[label] / macs[whole], median_ratio(seconds, times[whole])
        rows.append(
            [
                label,
                f"{macs[label] / 1e9:.1f}",
                f"{work:.3f}",
                f"{statistics.median(seconds):.3f}",
                spread(seconds),
                f"{time:.3f}",
                f"{time / work:.2f}",
            ]
        )
        broken += [label] if time / work > LIMIT else []
    header = ["tokens", "MACs (G)", "ratio", "median (s)", "range (s)", "ratio", "time / work"]
    verdict = f"NOT at {', '.join(broken)}" if broken else "at every share"
    claim = f"time within {LIMIT} of the multiply-accumulates: {verdict}"
    lines = "\n".join(align([header, *rows], right=True))
    sys.stdout.write(f"{lines}\n{claim}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
