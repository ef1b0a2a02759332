"""The report of `mimdet profile`: measured figures next to the published ones."""

from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import yaml

from mimdet_cli.measure.flops import Macs
from mimdet_cli.measure.parameters import Parameters
from mimdet_cli.measure.speed import Latency
from mimdet_cli.text_table import align


@dataclass(frozen=True, slots=True)
class ProfileSetting:
    """What was measured: a recipe, on a device, at an image size before padding.

    `precision` applies to the training step; the forward pass is in fp32, as in `mimdet eval`. The
    ratios are None for a backbone that always sees every token.
    """

    recipe: str
    device: str
    hardware: str
    classes: int
    size: tuple[int, int]
    eval_ratio: float | None
    train_ratio: float | None
    precision: str


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """Peaks in GB of a forward pass and a training step on one image; None for `reason`."""

    forward: float | None
    step: float | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """Published figures of one recipe; None if not published.

    `conditions` states how they were measured. `gmacs` are 10^9 multiply-accumulates for an image
    of `size` (height, width); None: the evaluation size of a photograph.
    """

    source: str
    parameters_m: float | None = None
    gmacs: float | None = None
    latency_ms: float | None = None
    step_memory_gb: float | None = None
    conditions: str | None = None
    size: list[int] | None = None


def published() -> dict[str, Published]:
    """Published figures by the name of the shipped recipe."""
    text = resources.files("mimdet_cli.jobs").joinpath("published.yaml").read_text("utf-8")
    return {name: Published(**fields) for name, fields in yaml.safe_load(text).items()}


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """All measurements of one detector."""

    setting: ProfileSetting
    parameters: Parameters
    macs: Macs
    latency: Latency
    memory: PeakMemory
    paper: Published | None

    def to_json(self) -> dict[str, Any]:
        """The report as JSON; keys name the units, multiply-accumulates are integers."""
        macs = self.macs
        return {
            **asdict(self.setting),
            "padded": macs.padded,
            "parameters": asdict(self.parameters),
            "macs": {
                "total": macs.total,
                "without_detections": macs.without_detections,
                "parts": macs.parts,
                "regions": macs.regions,
                "detections": macs.detections,
            },
            "latency_ms": _rounded(asdict(self.latency)),
            "memory_gb": _rounded(asdict(self.memory)),
            "paper": None if self.paper is None else asdict(self.paper),
        }

    def lines(self) -> list[str]:
        """The report as text."""
        paper = self.paper
        table = [
            ("", "ours", "paper"),
            *self._parameter_rows(),
            *self._mac_rows(),
            *self._latency_rows(),
            *self._memory_rows(),
        ]
        notes = [] if self.memory.reason is None else [f"memory: {self.memory.reason}"]
        if paper is not None:
            conditions = f" ({paper.conditions})" if paper.conditions else ""
            notes.append(f"paper: {paper.source}{conditions}")
        return [*self._heading(), "", *align(table), *(["", *notes] if notes else [])]

    def _heading(self) -> list[str]:
        setting = self.setting
        shown = [f"image {_pixels(setting.size)}, padded to {_pixels(self.macs.padded)}"]
        if setting.eval_ratio is not None:
            shown.append(f"{100 * setting.eval_ratio:g} % of its tokens in evaluation")
        if setting.train_ratio is not None:
            shown.append(f"{100 * setting.train_ratio:g} % in training")
        return [
            f"{setting.recipe}, {setting.classes} classes, on {setting.hardware}",
            ", ".join(shown),
        ]

    def _parameter_rows(self) -> list[tuple[str, str, str]]:
        counts = self.parameters
        stated = None if self.paper is None else self.paper.parameters_m
        return [
            ("parameters", f"{counts.total:,}", _stated(stated, "M")),
            ("  trainable", f"{counts.trainable:,}", ""),
            *((f"  {name}", f"{count:,}", "") for name, count in counts.parts.items()),
        ]

    def _mac_rows(self) -> list[tuple[str, str, str]]:
        macs = self.macs
        stated = None if self.paper is None else self.paper.gmacs
        units = {
            "box_head": f" ({macs.regions} regions)",
            "mask_head": f" ({macs.detections} masks)",
        }
        return [
            (
                f"multiply-accumulates, {macs.detections} detections",
                _billions(macs.total),
                _stated(stated, "G"),
            ),
            ("  without detections", _billions(macs.without_detections), ""),
            *((f"  {k}{units.get(k, '')}", _billions(v), "") for k, v in macs.parts.items()),
        ]

    def _latency_rows(self) -> list[tuple[str, str, str]]:
        latency = self.latency
        stated = None if self.paper is None else self.paper.latency_ms
        return [
            (
                f"latency, median of {latency.runs}, {latency.detections} detections",
                f"{latency.median:.4g} ms",
                _stated(stated, "ms"),
            ),
            ("  least and most", f"{latency.min:.4g} to {latency.max:.4g} ms", ""),
        ]

    def _memory_rows(self) -> list[tuple[str, str, str]]:
        stated = None if self.paper is None else self.paper.step_memory_gb
        step = f"peak memory, training step, batch 1, {self.setting.precision}"
        return [
            ("peak memory, forward pass", _stated(self.memory.forward, "GB"), ""),
            (step, _stated(self.memory.step, "GB"), _stated(stated, "GB")),
        ]


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f} G" if count >= 1e10 else f"{count / 1e9:.3g} G"


def _stated(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.4g} {unit}"


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}
