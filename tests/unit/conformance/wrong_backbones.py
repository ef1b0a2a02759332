"""A small convolutional backbone that keeps every promise, and others that break one each."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from mimdet_cli.plugin_api import (
    FPN,
    Backbone,
    BackboneOptions,
    KeyMap,
    Level,
    Padding,
    ParameterRule,
    TokenSampling,
)


class Options(BackboneOptions):
    """Options of the backbones below."""

    width: Annotated[int, Field(ge=1)] = 16
    """Channels of everything."""


class Right(Backbone):
    """A stem of stride 4, a stage for every level, and a feature pyramid network."""

    Options = Options
    padding = Padding(multiple=32)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        width = options.width
        self.stem = nn.Conv2d(3, width, 4, stride=4)
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.fpn = FPN([width] * 4, width, "ln")
        self.levels = tuple(Level(f"p{i}", width, 2**i) for i in (2, 3, 4, 5))

    @property
    def depth(self) -> int:
        return 5

    def depth_of(self, name: str) -> int:
        if name.startswith("blocks."):
            return int(name.split(".")[1]) + 1
        return 0 if name.startswith("stem.") else self.depth

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        return (ParameterRule("{stem|blocks}.{rest}", rate="pretrained"),)

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        return {"older": KeyMap({"layer{i}.{rest}": "blocks.{i}.{rest}"})}

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        return self.named(self.fpn(self.stages(self.stem(images))))

    def stages(self, x: Tensor) -> list[Tensor]:
        found = []
        for i, block in enumerate(self.blocks):
            x = x + F.gelu(block(x))
            found.append(x)
            x = F.max_pool2d(x, 2) if i < 3 else x
        return found

    def named(self, maps: list[Tensor]) -> dict[str, Tensor]:
        return {level.name: x for level, x in zip(self.levels, maps, strict=True)}


class RaisesWhenBuilt(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        raise KeyError("imagenet.pth")


class IsOfVersion1(Right):
    @classmethod
    def from_options(cls, options: Options) -> "IsOfVersion1":
        return cls(options)


class TinyIsRefused(Right):
    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"width": 0}


class RoundsDown(Right):
    padding = Padding(multiple=8)


class NeedsTwoCells(Right):
    def stages(self, x: Tensor) -> list[Tensor]:
        *fine, coarse = super().stages(x)
        return [*fine, F.pad(coarse, (1, 1, 1, 1), mode="reflect")[..., 1:-1, 1:-1]]


class DeclaresOtherStrides(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.levels = tuple(Level(f"p{i}", options.width, 2 ** (i + 1)) for i in (2, 3, 4, 5))


class NormalisesOverTheBatch(Right):
    def stages(self, x: Tensor) -> list[Tensor]:
        return super().stages(x - x.mean(dim=0, keepdim=True))


class DrawsInEvaluation(Right):
    def stages(self, x: Tensor) -> list[Tensor]:
        return super().stages(x + 0.1 * torch.rand_like(x))


class WeightsOfTheMoment(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        weights = np.random.default_rng().normal(size=self.stem.weight.shape)
        self.stem.weight.data.copy_(torch.from_numpy(weights))


class ChangesItsInput(Right):
    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        images += 1
        return super().forward(images, sizes)


class HasAnIdleLayer(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.spare = nn.Linear(2, 2)


class DetachesItsStem(Right):
    def stages(self, x: Tensor) -> list[Tensor]:
        return super().stages(x.detach())


class KeepsATensorAside(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.scale = 1 + torch.rand(options.width, 1, 1)  # no buffer

    def stages(self, x: Tensor) -> list[Tensor]:
        return super().stages(x * self.scale)


class NamesATensorTwice(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.first = self.blocks[0]


class DoublingOptions(Options):
    """Options of the backbone below."""

    @field_validator("width")
    @classmethod
    def _doubled(cls, width: int) -> int:
        return 2 * width


class ChangesItsOptions(Right):
    Options = DoublingOptions


class CountsFromTheEnd(Right):
    def depth_of(self, name: str) -> int:
        return self.depth - super().depth_of(name)


class HasNoDepthForThePyramid(Right):
    def depth_of(self, name: str) -> int:
        return None if name.startswith("fpn.") else super().depth_of(name)


class MistypesARule(Right):
    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        return (ParameterRule("block.{rest}", rate="pretrained"),)


class InventsARate(Right):
    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        return (ParameterRule("blocks.{rest}", rate="pre-trained"),)


class FillsNoHole(Right):
    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        return {"older": KeyMap({"layer{i}.{leaf}": "blocks.{i}.{rest}"})}


class MapsByARegularExpression(Right):
    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        return {"older": KeyMap({r"layer(\d)\.(.*)": r"blocks.\1.\2"})}


class LosesPrecision(Right):
    def stages(self, x: Tensor) -> list[Tensor]:
        return super().stages((x + 500) - 500)


class MakesFloat32Itself(Right):
    def stages(self, x: Tensor) -> list[Tensor]:
        rows = torch.zeros(x.shape)
        index = torch.arange(x.shape[2]).view(1, 1, -1, 1).expand(x.shape)
        return super().stages(rows.scatter(2, index, x))


class IsOtherwiseUnderTheCompiler(Right):
    def stages(self, x: Tensor) -> list[Tensor]:
        return super().stages(2 * x if torch.compiler.is_dynamo_compiling() else x)


class DecidesByAValue(Right):
    def stages(self, x: Tensor) -> list[Tensor]:
        return super().stages(x if x.abs().max() > 0 else -x)


class SetsThreads(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        torch.set_num_threads(3)


class SeedsTorch(Right):
    def __init__(self, options: Options) -> None:
        torch.manual_seed(0)
        super().__init__(options)


class DrawsFromNumpy(Right):
    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        np.random.rand()
        return super().forward(images, sizes)


class SetsAVariable(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        os.environ["MIMDET_TEST_FAST"] = "1"


INSTANCES: list[Backbone] = []


class IsNeverFreed(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        INSTANCES.append(self)


class KeepsItsMaps(Right):
    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.seen: list[Tensor] = []

    def stages(self, x: Tensor) -> list[Tensor]:
        found = super().stages(x)
        self.seen.append(found[-1].detach())
        return found


class LearnsTheOppositeOfIt(Right):
    def named(self, maps: list[Tensor]) -> dict[str, Tensor]:
        return super().named([2 * x.detach() - x for x in maps])


class SampledOptions(Options):
    """Options of a backbone that drops cells, with non-standard names."""

    kept: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the cells in training."""
    kept_later: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the cells in evaluation."""

    @property
    def token_sampling(self) -> TokenSampling:
        return TokenSampling(self.kept, self.kept_later, self.kept_later < 1, "kept", "kept_later")


class Samples(Right):
    """Sees a random share of the cells of stride 32, and keeps every promise."""

    Options = SampledOptions

    def share(self) -> float:
        return self.options.kept if self.training else self.options.kept_later

    def tokens_seen(self, height: int, width: int) -> tuple[int, int] | None:
        cells = (height // 32) * (width // 32)
        return max(1, int(self.share() * cells)), cells

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        height, width = images.shape[2:]
        seen, cells = Samples.tokens_seen(self, height, width)
        if seen < cells:
            rank = torch.rand(len(images), cells, device=images.device).argsort(1).argsort(1)
            mask = (rank < seen).view(-1, 1, height // 32, width // 32).to(images.dtype)
            images = images * F.interpolate(mask, scale_factor=32.0)
        return super().forward(images, sizes)


class CountsUndeclared(Right):
    def tokens_seen(self, height: int, width: int) -> tuple[int, int] | None:
        return 1, 2


class CountsOtherwise(Samples):
    def tokens_seen(self, height: int, width: int) -> tuple[int, int] | None:
        seen, cells = super().tokens_seen(height, width)
        return seen, 10 * cells


class MisnamedOptions(SampledOptions):
    @property
    def token_sampling(self) -> TokenSampling:
        return TokenSampling(self.kept, self.kept_later, self.kept_later < 1, "kept", "keep")


class NamesNoOption(Samples):
    Options = MisnamedOptions


class FixedOptions(SampledOptions):
    @property
    def token_sampling(self) -> TokenSampling:
        return TokenSampling(self.kept, self.kept_later, False, "kept", "kept_later")


class DrawsUndeclared(Samples):
    Options = FixedOptions


@dataclass(frozen=True)
class Wrong:
    """A backbone, the promise it breaks, and words that have to be in the finding."""

    kind: type[Backbone]
    promise: str
    words: tuple[str, ...]


WRONG = (
    Wrong(RaisesWhenBuilt, "builds", ("KeyError: 'imagenet.pth'", "wrong_backbones.py:")),
    Wrong(IsOfVersion1, "builds", ("implements contract version 1", "replace `from_options`")),
    Wrong(TinyIsRefused, "builds", ("'backbone.width'", "0")),
    Wrong(RoundsDown, "levels", ("odd, padded to 104 x 136: p4 is (2, 16, 6, 8)", "(2, 16, 7, 9)")),
    Wrong(NeedsTwoCells, "levels", ("one pixel, padded to 32 x 32", "wrong_backbones.py:")),
    Wrong(DeclaresOtherStrides, "levels", ("'p2': 8", "'p2': 4")),
    Wrong(NormalisesOverTheBatch, "batch", ("image 1 of 3: p2 differs", "allowed 0.0001")),
    Wrong(DrawsInEvaluation, "determinism", ("in evaluation, a second pass changes p2",)),
    Wrong(WeightsOfTheMoment, "determinism", ("two instances from one seed", "'stem.weight'")),
    Wrong(ChangesItsInput, "inputs", ("in evaluation, 73728 of 73728 values of `images`",)),
    Wrong(HasAnIdleLayer, "gradients", ("2 of 36", "no gradient: 'spare.weight', 'spare.bias'")),
    Wrong(DetachesItsStem, "gradients", ("no gradient: 'stem.weight', 'stem.bias'",)),
    Wrong(KeepsATensorAside, "state", ("after loading, p2 differs by", "allowed 0")),
    Wrong(NamesATensorTwice, "state", ("share memory", "first.weight")),
    Wrong(ChangesItsOptions, "options", ("'width' is 16, but read back as 32", "34 param")),
    Wrong(CountsFromTheEnd, "depth", ("'blocks.0.weight' has depth 4, but 'blocks.1.weight'",)),
    Wrong(HasNoDepthForThePyramid, "depth", ("is None, promised an integer from 0 to 5",)),
    Wrong(MistypesARule, "rules", ("'block.{rest}' matches 0 of 34 parameters",)),
    Wrong(InventsARate, "rules", ("has the rate 'pre-trained', promised one of",)),
    Wrong(FillsNoHole, "key_maps", ("has the hole '{rest}', which 'layer{i}.{leaf}' does not",)),
    Wrong(
        MapsByARegularExpression, "key_maps", ("is a regular expression; write a template such as",)
    ),
    Wrong(LosesPrecision, "bf16", ("in the L2 norm, allowed 0.05",)),
    Wrong(MakesFloat32Itself, "bf16", ("scatter", "wrong_backbones.py:")),
    Wrong(
        IsOtherwiseUnderTheCompiler,
        "compile",
        ("once traced, allowed 0.0001",),
    ),
    Wrong(DecidesByAValue, "export", ("wrong_backbones.py:", "in stages")),
    Wrong(CountsUndeclared, "sampling", ("is (1, 2), but `Options.token_sampling` is None",)),
    Wrong(CountsOtherwise, "sampling", ("in training 6 of 120 tokens are seen, declared 0.5",)),
    Wrong(NamesNoOption, "sampling", ("eval_option is 'keep', which is not an option",)),
    Wrong(DrawsUndeclared, "sampling", ("different maps, but `stochastic` is False",)),
    Wrong(SetsThreads, "globals", ("constructing it: number of threads",)),
    Wrong(SeedsTorch, "globals", ("constructing it: torch's seed 8191 became 0",)),
    Wrong(DrawsFromNumpy, "globals", ("a pass in training: numpy's random state changed",)),
    Wrong(SetsAVariable, "globals", ("environment variables changed: MIMDET_TEST_FAST",)),
    Wrong(IsNeverFreed, "memory", ("34 of 34 tensors outlive the instance",)),
    Wrong(KeepsItsMaps, "memory", ("4 passes over one batch left 8 more tensors",)),
    Wrong(LearnsTheOppositeOfIt, "learning", ("in 16 steps on one batch, promised",)),
)
