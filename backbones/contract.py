"""What a backbone promises: options, levels, padding, depth of its parameters, readable formats.

    forward(images (B, 3, H, W), sizes (B, 2))
        -> {"p2": (B, C, H/4, W/4), ..., "p5": (B, C, H/32, W/32)}

`images` are normalised and zero-padded at the bottom and right; `sizes` are the true heights and
widths inside the padding. Everything else here is known before the first forward pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from backbones.key_maps.rename import KeyMap
from backbones.key_maps.template import template
from backbones.options.base import BackboneOptions

CONTRACT_VERSION = 2


@dataclass(frozen=True, slots=True)
class Level:
    """One map of the pyramid: its name, its channels, and pixels of the image per cell."""

    name: str
    channels: int
    stride: int


@dataclass(frozen=True, slots=True)
class Padding:
    """Images are zero-padded to a multiple of `multiple`, or to one square of `square` pixels."""

    multiple: int = 32
    square: int | None = None


Rate = Literal["pretrained", "plain", "task"]


@dataclass(frozen=True, slots=True)
class ParameterRule:
    """How parameters learn whose full name one of the templates `names` matches; the first wins.

    Templates are those of key maps: `stem.{rest}`, or `("blocks.{i}.norm{k}.{leaf}", "pos_embed")`.
    `rate` says which side of `optimizer.multiplier` they stand on: pre-trained (lr / multiplier),
    plain (lr) or task (lr * multiplier). `decay` overrides the recipe's weight-decay rule.
    """

    names: str | tuple[str, ...]
    rate: Rate = "task"
    decay: bool | None = None

    def __post_init__(self) -> None:
        """Parse the templates, so that a wrong one is reported where the rule is written."""
        for text in self.texts:
            template(text)

    @property
    def texts(self) -> tuple[str, ...]:
        """The templates, however many there are."""
        return (self.names,) if isinstance(self.names, str) else self.names

    def matches(self, name: str) -> bool:
        """Whether the rule is about the parameter `name`."""
        return any(template(text).match(name) is not None for text in self.texts)


class Backbone(nn.Module, ABC):
    """Base class of every backbone, ours and third parties'."""

    contract: ClassVar[int] = CONTRACT_VERSION
    Options: ClassVar[type[BackboneOptions]]

    options: BackboneOptions
    """What it was built from; a subclass writes its own `Options` as the type."""
    levels: tuple[Level, ...]
    padding: Padding

    def __init__(self, options: BackboneOptions) -> None:
        """Begin the backbone that `options`, an instance of `cls.Options`, describes.

        `Kind(options)` returns the whole model in training mode, with `levels` and `padding` set.
        Random weights come from torch's generator; nothing is read, downloaded or printed.
        """
        super().__init__()
        self.options = options

    @classmethod
    def tiny(cls, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The same architecture for a CPU: values that replace those of the recipe's `options`.

        None if it cannot be shrunk. `mimdet ablate --base demo` and the checks use it.
        """
        return None

    @abstractmethod
    def forward(self, images: Tensor, sizes: Tensor) -> dict[str, Tensor]:
        """Pyramid maps by level name, largest first."""

    def tokens_seen(self, height: int, width: int) -> tuple[int, int] | None:
        """Tokens of one image that the encoder sees in the present mode, and all of its tokens.

        `height` and `width` are those of the padded batch, in pixels. None for a backbone that
        always sees all tokens, whose `options.token_sampling` is None too.
        """
        return None

    @property
    def parameter_rules(self) -> tuple[ParameterRule, ...]:
        """How parameters learn, by name; a parameter that no rule matches is a task layer."""
        return ()

    def is_pretrained(self, name: str) -> bool:
        """Whether pre-trained weights must have the parameter `name`.

        By default, whether it learns at the pre-trained rate. A file that lacks any of these is
        refused, except for those that its key map calls fresh.
        """
        rule = next((rule for rule in self.parameter_rules if rule.matches(name)), None)
        return rule is not None and rule.rate == "pretrained"

    @property
    def key_maps(self) -> Mapping[str, KeyMap]:
        """Checkpoint layouts this backbone can read, by format name."""
        return {}

    @property
    @abstractmethod
    def depth(self) -> int:
        """Largest value of `depth_of`: that of the layers after the transformer."""

    @abstractmethod
    def depth_of(self, name: str) -> int:
        """Depth of a parameter, 0 for the stem, `depth` for what follows the transformer."""
