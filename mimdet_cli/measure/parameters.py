"""Count the parameters of a detector by part."""

from collections import Counter
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, slots=True)
class Parameters:
    """Parameter counts; `parts` sum to `total`: the backbone's modules, `rpn` and `roi_heads`.

    As in the papers, fixed position embeddings count and buffers do not.
    """

    total: int
    trainable: int
    parts: dict[str, int]


def count_parameters(detector: nn.Module) -> Parameters:
    """Count the parameters of a detector; shared ones count once."""
    parts: Counter[str] = Counter()
    trainable = 0
    for name, parameter in detector.named_parameters():
        words = name.split(".")
        parts[".".join(words[:2]) if words[0] == "backbone" else words[0]] += parameter.numel()
        trainable += parameter.numel() if parameter.requires_grad else 0
    return Parameters(parts.total(), trainable, dict(parts))
