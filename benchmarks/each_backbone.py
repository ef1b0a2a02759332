"""Forward and backward time of every registered backbone on one image, in alternation.

    python benchmarks/each_backbone.py                        tiny variants at 512 x 512
    python benchmarks/each_backbone.py --size small base      larger ones
    python benchmarks/each_backbone.py --only mimdet vitdet   some of them

Backbones run in training mode with the options below, others of a family being those of the
papers; a third party's backbone runs with its default options.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from typing import Any

import torch
from alternation import in_alternation, median_ratio, spread

from backbones.contract import Backbone
from mimdet_cli import plugins
from mimdet_cli.build import backbone_class, choose_device
from mimdet_cli.text_table import align

VIT: dict[str, dict[str, Any]] = {
    "tiny": {"width": 192, "depth": 12, "heads": 3},
    "small": {"width": 384, "depth": 12, "heads": 6},
    "base": {"width": 768, "depth": 12, "heads": 12},
    "large": {"width": 1024, "depth": 24, "heads": 16},
}
OWN: dict[str, dict[str, dict[str, Any]]] = {
    "mimdet": {
        "tiny": {"decoder_width": 128, "decoder_heads": 4},
        "small": {"decoder_width": 256, "decoder_heads": 8},
        "base": {},
        "large": {},
    },
    "vitdet": {size: {"square": None, "image_size": 512} for size in VIT},
    "vit_fpn": {size: {"form": "vit", "window": 14, "grid": 14, "norm": "none"} for size in VIT},
    "vit_adapter": {
        "tiny": {},
        "small": {},
        "base": {"deform_heads": 12, "deform_ratio": 0.5},
        "large": {"deform_heads": 16, "deform_ratio": 0.5, "grid": 24},
    },
}
TIMM: dict[str, tuple[str, ...]] = {
    "tiny": ("resnet18", "convnext_atto", "pvt_v2_b1"),
    "small": (
        "resnet50",
        "convnext_tiny",
        "pvt_v2_b2",
        "swin_tiny_patch4_window7_224",
        "mvitv2_tiny",
    ),
    "base": ("convnext_base", "pvt_v2_b5", "swin_base_patch4_window7_224", "mvitv2_base"),
    "large": ("convnext_large", "swin_large_patch4_window7_224", "mvitv2_large"),
}


def candidates(name: str, size: str) -> dict[str, dict[str, Any]]:
    """Options by label: the variants of the registered backbone `name` at `size`."""
    if name == "timm_fpn":
        return {f"{name} {model}": {"model": model} for model in TIMM[size]}
    return {f"{name} {size}": VIT[size] | OWN[name][size] if name in OWN else {}}


def step(backbone: Backbone, images: torch.Tensor) -> Callable[[], None]:
    """One forward and backward pass, as a function."""
    sizes = torch.tensor([images.shape[-2:]] * len(images), device=images.device)

    def run() -> None:
        backbone.zero_grad()
        loss = torch.stack([x.mean() for x in backbone(images, sizes).values()]).sum()
        torch.autograd.backward(loss)

    return run


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", nargs="+", choices=VIT, default=["tiny"], help="variants")
    parser.add_argument("--only", nargs="+", choices=plugins.names(), default=plugins.names())
    parser.add_argument("--pixels", type=int, default=512, help="side of the image")
    parser.add_argument("--batch", type=int, default=1, help="images")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each backbone")
    parser.add_argument("--device", help="cpu, cuda, ...; the GPU if there is one")
    return parser.parse_args()


def main() -> None:
    """Build, time, print."""
    arguments = parse()
    device = choose_device(arguments.device)
    side = arguments.pixels
    images = torch.randn(arguments.batch, 3, side, side, device=device)
    functions, parameters = {}, {}
    for size in arguments.size:
        for name in arguments.only:
            kind = backbone_class(name)
            for label, options in candidates(name, size).items():
                if label not in functions:
                    backbone = kind(kind.Options.model_validate(options)).to(device)
                    functions[label] = step(backbone.train(), images)
                    parameters[label] = sum(p.numel() for p in backbone.parameters()) / 1e6
    times = in_alternation(functions, arguments.rounds, device)
    first = next(iter(times.values()))
    rows = [
        [
            label,
            f"{parameters[label]:.1f}",
            f"{statistics.median(seconds):.3f}",
            spread(seconds),
            f"{median_ratio(seconds, first):.2f}",
        ]
        for label, seconds in times.items()
    ]
    header = ["backbone", "parameters (M)", "median (s)", "range (s)", "ratio to the first"]
    sys.stdout.write("\n".join(align([header, *rows], right=True)) + "\n")


if __name__ == "__main__":
    main()
