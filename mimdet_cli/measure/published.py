"""What the papers and their repositories state of a recipe's cost."""

from dataclasses import dataclass
from importlib import resources

import yaml


@dataclass(frozen=True, slots=True)
class Published:
    """Published figures of one recipe; None where there is none.

    `conditions` says what they were measured on. `gmacs` are 10^9 multiply-accumulates,
    of an image of `size` (height, width); None is a photograph's size in evaluation.
    """

    source: str
    parameters_m: float | None = None
    gmacs: float | None = None
    latency_ms: float | None = None
    step_memory_gb: float | None = None
    conditions: str | None = None
    size: list[int] | None = None


def published() -> dict[str, Published]:
    """Figures by the name of the shipped recipe."""
    text = resources.files("mimdet_cli.measure").joinpath("published.yaml").read_text("utf-8")
    return {name: Published(**fields) for name, fields in yaml.safe_load(text).items()}
