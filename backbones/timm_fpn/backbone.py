"""timm's hierarchical feature models with a feature pyramid: Swin, ConvNeXt, PVTv2, ResNet, MViTv2.

Papers: Liu et al., Swin Transformer, ICCV 2021 (arXiv:2103.14030); Liu et al., ConvNeXt, CVPR 2022
(arXiv:2201.03545); Wang et al., PVTv2, CVMJ 2022 (arXiv:2106.13797); He et al., ResNet, CVPR 2016
(arXiv:1512.03385); Li et al., MViTv2, CVPR 2022 (arXiv:2112.01526).

Shapes, for B images of H x W pixels:
    stages  (B, C_i, H/s, W/s) with s = 4, 8, 16, 32, then a LayerNorm per map where the authors'
            detector has one (Swin, ConvNeXt, MViTv2; PVTv2 ends its stages with its own)
    p2..p5  (B, C, H/s, W/s)

Differs from timm: no model depends on the image size it was constructed with (`any_size`). Differs
from the authors' MViTv2 detector: every block attends to the whole pooled map, where theirs has
windows in all but the last blocks of its stages; the weights are the same, memory and time grow
with the square of the image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from timm import create_model
from torch import Tensor, nn

from backbones.contract import Backbone, Level, Padding, ParameterRule
from backbones.key_maps.rename import KeyMap
from backbones.key_maps.template import template
from backbones.key_maps.timm_classifiers import timm_to_features
from backbones.layers.fpn import FPN
from backbones.layers.norm import ChannelLayerNorm
from backbones.options.timm_fpn import SWIN_HEAD, TimmFPNOptions, family_of
from backbones.options.transformer import TINY_PYRAMID
from backbones.timm_fpn.any_size import free_of_image_size, pooled_maps

STRIDES = (4, 8, 16, 32)


def block_by_block(stage: int, block: int, blocks: Sequence[int]) -> int:
    """Layer of a block: 1 for the first, one more for each block after it."""
    return 1 + sum(blocks[:stage]) + block


def convnext_layer(stage: int, block: int, blocks: Sequence[int]) -> int:
    """Layer of a block in ConvNeXt's layer-wise decay: three blocks a layer in the third stage.

    The other stages are one layer each (paper, appendix A.3; the authors' detection code).
    """
    groups = -(-blocks[2] // 3)
    return (1, 2, 3 + block // 3, 3 + groups)[stage]


def within(module: str, name: str) -> dict[str, str] | None:
    """Holes of the template `module` if `name` is such a module or inside one, else None."""
    return template(module).match(name) or template(f"{module}.{{rest}}").match(name)


def stage_maps(body: Any, images: Tensor) -> list[Tensor]:
    """The last four maps of a timm model, finest first."""
    maps: list[Tensor] = body.forward_intermediates(
        images, indices=len(STRIDES), intermediates_only=True
    )
    return maps


def swin_of_width(width: int) -> Mapping[str, Any]:
    """timm's settings for a Swin whose first stage has `width` channels, 32 a head as in all."""
    return {"embed_dim": width, "num_heads": [width // SWIN_HEAD * 2**i for i in range(4)]}


def nothing(body: Any) -> None:
    """Leave the model as timm builds it."""


@dataclass(frozen=True, slots=True)
class Family:
    """What the models of one timm module have in common.

    `stage`, `block`: templates of the modules that are the stages, with the hole `s`, and their
        blocks, with `b` too.
    `first`: the number that names give the first stage.
    `after`: parts behind the last map, which are dropped.
    `smallest`: the model that `tiny` takes; None where timm has none of a few million parameters.
    `of_width`: settings for another width of the first stage; None where that cannot be set.
    `tables`: template of the last part of names of relative positions; None where there are none.
    `out_eps`: floor of the LayerNorm on every map; None for families without one.
    `settings`: keyword arguments of timm's constructor.
    """

    after: tuple[str, ...]
    smallest: str | None
    stage: str = "stages.{s}"
    block: str = "stages.{s}.blocks.{b}"
    first: int = 0
    tables: str | None = None
    out_eps: float | None = None
    of_width: Callable[[int], Mapping[str, Any]] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[Any], None] = nothing
    maps: Callable[[Any, Tensor], list[Tensor]] = stage_maps
    layer: Callable[[int, int, Sequence[int]], int] = block_by_block


FAMILIES = {
    "swin_transformer": Family(
        stage="layers.{s}",
        block="layers.{s}.blocks.{b}",
        after=("norm", "head"),
        smallest="swin_tiny_patch4_window7_224",
        tables="relative_position_bias_table",
        out_eps=1e-5,
        of_width=swin_of_width,
        settings={"strict_img_size": False, "always_partition": True},
        prepare=free_of_image_size,
    ),
    "convnext": Family(
        after=("norm_pre", "head"),
        smallest="convnext_atto",
        out_eps=1e-6,
        layer=convnext_layer,
    ),
    "pvt_v2": Family(after=("head",), smallest="pvt_v2_b0"),
    "resnet": Family(
        stage="layer{s}", block="layer{s}.{b}", after=("fc",), smallest="resnet10t", first=1
    ),
    "mvitv2": Family(
        after=("norm", "head"),
        smallest=None,
        tables="rel_pos_{h|w}",
        out_eps=1e-6,
        maps=pooled_maps,
    ),
}


class TimmFPN(Backbone):
    """The stages of a timm model, a norm on each map where its detector has one, and an FPN."""

    Options = TimmFPNOptions
    options: TimmFPNOptions
    padding = Padding(multiple=32)

    def __init__(self, options: TimmFPNOptions) -> None:
        super().__init__(options)
        self.family = FAMILIES[family_of(options.model)]
        body: Any = create_model(
            options.model,
            pretrained=False,
            num_classes=0,
            drop_path_rate=options.drop_path,
            **self.settings(),
        )
        maps = body.feature_info[-len(STRIDES) :]
        assert tuple(info["reduction"] for info in maps) == STRIDES
        widths = [info["num_chs"] for info in maps]
        for part in self.family.after:
            if hasattr(body, part):
                setattr(body, part, nn.Identity())
        self.family.prepare(body)
        self.body = body
        eps = self.family.out_eps
        self.out_norms = nn.ModuleList(
            nn.Identity() if eps is None else ChannelLayerNorm(width, eps) for width in widths
        )
        self.fpn = FPN(widths, options.channels, options.norm)
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))
        self.blocks = self.count_blocks()
        for name, parameter in self.body.named_parameters():
            if self.is_frozen(name):
                parameter.requires_grad_(False)

    def settings(self) -> Mapping[str, Any]:
        """Keyword arguments of timm's constructor beside the model's name."""
        width, of_width = self.options.width, self.family.of_width
        if width is None or of_width is None:
            return self.family.settings
        return {**self.family.settings, **of_width(width)}

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The smallest model of the family, nothing frozen; Swin narrower than timm has it."""
        family = FAMILIES[family_of(TimmFPNOptions.model_validate(options).model)]
        if family.smallest is None:
            return None
        width = SWIN_HEAD if family.of_width else None
        learning = {"drop_path": 0.0, "frozen_stages": -1, "frozen_bn": False}
        return {**TINY_PYRAMID, **learning, "model": family.smallest, "width": width}

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The body is pre-trained; tables of positions are not decayed, as published."""
        body = ParameterRule("body.{rest}", rate="pretrained")
        if self.family.tables is None:
            return (body,)
        tables = f"body.{{path}}.{self.family.tables}"
        return (ParameterRule(tables, rate="pretrained", decay=False), body)

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """timm's checkpoints of the same model."""
        parts = dict.fromkeys(key.partition(".")[0] for key in self.body.state_dict())
        return {"timm": timm_to_features(parts, dict.fromkeys(self.family.after, "classifier"))}

    @property
    def depth(self) -> int:
        """The layer of the last block and one: the depth of output norms and pyramid."""
        return 1 + self.family.layer(len(self.blocks) - 1, self.blocks[-1] - 1, self.blocks)

    def depth_of(self, name: str) -> int:
        """0 for the stem, then by blocks (ConvNeXt: its published groups), `depth` for the rest."""
        inner = name.removeprefix("body.")
        if inner == name:
            return self.depth
        stage, block = self.place(inner)
        if stage == 0:
            return 0
        if block is None:  # a stage's own layers stand before its blocks, except PVTv2's last norm
            block = self.blocks[stage - 1] - 1 if within(f"{self.family.stage}.norm", inner) else 0
        return self.family.layer(stage - 1, block, self.blocks)

    def place(self, name: str) -> tuple[int, int | None]:
        """Stage, 1 to 4 or 0 for the stem, and block index of a name inside the body."""
        block = within(self.family.block, name)
        found = block or within(self.family.stage, name)
        if found is None:
            return 0, None
        return int(found["s"]) - self.family.first + 1, int(block["b"]) if block else None

    def count_blocks(self) -> tuple[int, ...]:
        """Blocks of each stage."""
        places = {self.place(name) for name, _ in self.body.named_parameters()}
        inside = {place for place in places if place[1] is not None}
        return tuple(sum(stage == k for stage, _ in inside) for k in range(1, len(STRIDES) + 1))

    def is_frozen(self, name: str) -> bool:
        """Whether the part of the body with this name belongs to a frozen stage."""
        return self.place(name)[0] <= self.options.frozen_stages

    def train(self, mode: bool = True) -> Self:
        """Set the mode; frozen stages, and with `frozen_bn` all batch norms, stay in evaluation."""
        super().train(mode)
        for name, module in self.body.named_modules():
            batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
            if name and (self.is_frozen(name) or (self.options.frozen_bn and batch_norm)):
                module.training = False
        return self

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Pyramid maps; `images` (B, 3, H, W) with sides divisible by 32."""
        maps = self.family.maps(self.body, images)
        normed = [norm(x) for norm, x in zip(self.out_norms, maps, strict=True)]
        pyramid = self.fpn(normed)
        return {level.name: x for level, x in zip(self.levels, pyramid, strict=True)}
