"""The detectors of the tests: of a recipe, or the head on a backbone that a test has made.

Nothing is cached: every call builds a new detector, which may be changed.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from backbones.contract import Backbone, Level, Padding
from backbones.mimdet import MIMDet
from backbones.options.base import BackboneOptions
from heads.mask_rcnn import MaskRCNN
from heads.options import HeadOptions
from mimdet_cli.build import build_detector, complete
from mimdet_cli.recipe.from_python import RecipeLike, resolve_recipe
from mimdet_cli.recipe.overrides import parse_override
from mimdet_cli.recipe.schema import CompletedRecipe
from mimdet_cli.weights.load import LoadReport, load_weights
from mimdet_cli.weights.write import detectron2_names

NARROW_HEAD = HeadOptions(channels=8, fc_channels=16)
MMDET_HEAD = HeadOptions(rpn_convs=1, box_head="2fc", norm="none")
"""The form of head that ViT-Adapter and its baselines have, at full size."""

SMALL_MIMDET = {
    "width": 32, "depth": 2, "heads": 2, "drop_path": 0.0, "grid": 4, "decoder_width": 16,
    "decoder_heads": 2, "decoder_layers": 1, "channels": 8, "norm": "gn",
}  # fmt: skip


def completed(recipe: RecipeLike, *sets: str, data: Path | None = None) -> CompletedRecipe:
    """The recipe with every option of its backbone; `sets` are "key=value", as of `--set`."""
    if isinstance(recipe, CompletedRecipe) and not sets and data is None:
        return recipe
    overrides = {one.key: one.value for one in map(parse_override, sets)}
    return complete(resolve_recipe(recipe, overrides, data=data)).recipe


def detector_of(recipe: RecipeLike, *sets: str, classes: int = 3) -> MaskRCNN:
    """The detector of a recipe, with the weights of its seed."""
    return build_detector(completed(recipe, *sets), classes)


def shapes_of(recipe: RecipeLike, *sets: str, classes: int = 80) -> MaskRCNN:
    """The detector of a recipe without memory: names and shapes, on the meta device."""
    full = completed(recipe, *sets)
    with torch.device("meta"):
        return build_detector(full, classes)


def detector_on(
    backbone: Backbone,
    classes: int = 3,
    head: HeadOptions = NARROW_HEAD,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> MaskRCNN:
    """The head on a backbone; by default narrow, for images that need no normalisation."""
    return MaskRCNN(backbone, classes, head, mean, std)


class Stem(Backbone):
    """Average pooling and one convolution per level."""

    def __init__(self, channels: int = 8, padding: Padding | None = None) -> None:
        super().__init__(BackboneOptions())
        self.levels = tuple(Level(f"p{i}", channels, 2**i) for i in range(2, 6))
        self.padding = padding or Padding()
        self.convs = nn.ModuleList(nn.Conv2d(3, channels, 1) for _ in self.levels)

    def forward(self, images, sizes):
        pooled = [nn.functional.avg_pool2d(images, level.stride) for level in self.levels]
        return {f"p{i + 2}": conv(pooled[i]) for i, conv in enumerate(self.convs)}

    @property
    def depth(self):
        return 0

    def depth_of(self, name):
        return 0


def fill(
    backbone: Backbone, layout: str, tensors: Mapping[str, Tensor], folder: Path
) -> LoadReport:
    """Load tensors, as a file in `folder`, into the backbone of a detector."""
    path = folder / f"{layout}.safetensors"
    save_file(dict(tensors), path)
    return load_weights(detector_on(backbone), backbone.key_maps[layout], path, layout, 0.0)


def in_maes_layout(backbone: MIMDet) -> dict[str, Tensor]:
    """Encoder and decoder under the names of MAE's authors."""
    own = backbone.state_dict()
    mae = {k.removeprefix("encoder."): v for k, v in own.items() if k.startswith("encoder.")}
    for key, value in own.items():
        if key.startswith("decoder.") and "stem_proj" not in key:
            mae[key.replace(".", "_", 1)] = value
    return mae


def in_detectron2s_layout(detector: MaskRCNN) -> dict[str, Tensor]:
    """A whole detector under the names of detectron2, which MIMDet's release has too."""
    own = detector.state_dict()
    names = detectron2_names(own, detector.backbone.key_maps)
    return {names[key]: tensor for key, tensor in own.items()}
