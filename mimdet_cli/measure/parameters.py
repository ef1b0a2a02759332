"""How many parameters a detector has, and where they are."""

from collections import Counter
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Parameters:
    """Counts; `parts` sum to `total`: the backbone one level deep, `rpn` and `roi_heads`.

    Fixed position tables count, buffers do not, as in the papers.
    """

    total: int
    trainable: int
    parts: dict[str, int]


def count_parameters(detector: nn.Module) -> Parameters:
    """Parameters of a detector; each counts once, however often it is used."""
    parts: Counter[str] = Counter()
    trainable = 0
    for name, parameter in detector.named_parameters():
        words = name.split(".")
        parts[".".join(words[:2]) if words[0] == "backbone" else words[0]] += parameter.numel()
        trainable += parameter.numel() if parameter.requires_grad else 0
    return Parameters(parts.total(), trainable, dict(parts))
