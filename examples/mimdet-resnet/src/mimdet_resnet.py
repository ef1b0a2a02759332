"""torchvision's ResNet with a feature pyramid network, the classic baseline of detection.

Papers: He et al., "Deep Residual Learning", CVPR 2016 (arXiv:1512.03385); Lin et al., "Feature
Pyramid Networks", CVPR 2017 (arXiv:1612.03144). Parameters of the body are named as torchvision's.

Shapes, for B images of H x W pixels (multiples of 32):
    stem    (B, 64, H/4, W/4)
    stages  (B, C_i, H/s, W/s), C_i = 64 * 2**i, four times that from ResNet-50 on; s = 4, 8, 16, 32
    p2..p5  (B, channels, H/s, W/s)
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from mimdet_cli.plugin_api import (
    FPN,
    Backbone,
    BackboneOptions,
    Drop,
    KeyMap,
    Level,
    Norm,
    Padding,
    ParameterRule,
    Role,
    Rule,
)

MODELS: Mapping[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
}
BLOCK = re.compile(r"body\.layer(\d)\.(\d+)\.")


class ResNetFPNOptions(BackboneOptions):
    """Options; the defaults are detectron2's ResNet-50-FPN."""

    depth: Annotated[Literal[18, 34, 50, 101], Role.SIZE] = 50
    """Layers of the ResNet."""
    norm: Literal["frozen_bn", "bn"] = "frozen_bn"
    """Batch norms with the values of the weights file, which never change; or trained ones."""
    frozen_stages: Annotated[int, Field(ge=-1, le=4)] = 1
    """Stages that keep their weights: 0 freezes the stem, k also the first k stages, -1 nothing."""
    channels: Annotated[int, Field(ge=1)] = 256
    """Channels of every map of the pyramid."""
    fpn_norm: Norm = "none"
    """Normalisation in the pyramid; without one its convolutions have biases."""


class ResNetFPN(Backbone):
    """The four stages of a ResNet, each of which gives one level of the pyramid."""

    contract = 2
    Options = ResNetFPNOptions
    options: ResNetFPNOptions
    padding = Padding(multiple=32)

    def __init__(self, options: ResNetFPNOptions) -> None:
        super().__init__(options)
        block, self.blocks = MODELS[options.depth]
        norm = FrozenBatchNorm2d if options.norm == "frozen_bn" else nn.BatchNorm2d
        self.body = ResNet(block, self.blocks, norm_layer=norm)
        del self.body.avgpool, self.body.fc  # of the classifier
        widths = [64 * 2**i * block.expansion for i in range(4)]
        self.fpn = FPN(widths, options.channels, options.fpn_norm)
        self.levels = tuple(Level(f"p{i}", options.channels, 2**i) for i in (2, 3, 4, 5))
        for module in self.frozen():
            module.requires_grad_(False)

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """ResNet-18, all of which learns: no weights come with this size of task."""
        learning = {"norm": "bn", "frozen_stages": -1}
        return {**learning, "depth": 18, "channels": 64, "fpn_norm": "bn"}

    def frozen(self) -> list[nn.Module]:
        """The parts of the body that do not learn, stem first."""
        body, count = self.body, self.options.frozen_stages
        stages = [body.layer1, body.layer2, body.layer3, body.layer4]
        return [body.conv1, body.bn1, *stages[:count]] if count >= 0 else []

    def train(self, mode: bool = True) -> Self:
        """Set the mode; batch norms of frozen parts keep their statistics."""
        super().train(mode)
        for module in self.frozen():
            module.eval()
        return self

    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Maps by level name, finest first."""
        body = self.body
        x = body.maxpool(body.relu(body.bn1(body.conv1(images))))  # (B, 64, H/4, W/4)
        stages = []
        for stage in (body.layer1, body.layer2, body.layer3, body.layer4):
            x = stage(x)  # (B, C_i, H/s, W/s)
            stages.append(x)
        return {level.name: x for level, x in zip(self.levels, self.fpn(stages), strict=True)}

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """The body comes pre-trained; the pyramid is new to the task."""
        return (ParameterRule("body.{rest}", rate="pretrained"),)

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """torchvision's classifiers; timm's `resnet50.tv_in1k` and its like have the same names."""
        rules: dict[str, Rule] = {"fc.{rest}": Drop("images are not classified")}
        if self.options.norm == "frozen_bn":
            rules["{path}.num_batches_tracked"] = Drop("frozen norms count no batches")
        rules["{conv1|bn1}.{rest}"] = "body.{conv1|bn1}.{rest}"
        rules["layer{i}.{rest}"] = "body.layer{i}.{rest}"
        return dict.fromkeys(("torchvision", "timm"), KeyMap(rules))

    @property
    def depth(self) -> int:
        """Blocks and one: the depth of the pyramid."""
        return sum(self.blocks) + 1

    def depth_of(self, name: str) -> int:
        """0 for the stem, then one more for each block, `depth` for the pyramid."""
        if found := BLOCK.match(name):
            stage, block = int(found[1]), int(found[2])
            return sum(self.blocks[: stage - 1]) + block + 1
        return 0 if name.startswith("body.") else self.depth
