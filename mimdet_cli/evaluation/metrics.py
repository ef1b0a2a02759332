"""All reported metrics, one record each, in display order; everything else iterates this table.

To add a metric that `COCOeval` computes, add an entry. For any other, also add its evaluator and
call it: accuracies in `coco_ap`, costs in `ablation.run.cell`.

Accuracies are in points of 100, None where undefined. In records of them (`eval --json`,
`results.json`, a cell's `ap`), a task that was not scored has no keys.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Task = Literal["box", "mask"]
"""What is compared to the ground truth."""
TASKS: Final[tuple[Task, ...]] = ("box", "mask")
NONE: Final = "-"
HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """How papers state a metric: the field in an ablation's `paper`, and the unit.

    `on_gpu`: comparable only on the same kind of GPU.
    """

    field: str
    help: str
    spec: str
    unit: str = ""
    axis: str = ""
    on_gpu: bool = False

    def text(self, value: float) -> str:
        """A published figure in a table."""
        return format(value, self.spec) + self.unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric: `key` in files, `label` for display, and how to format it.

    `spec` and `unit` format a value in text; `axis` is the unit of a plot's axis, in multiples of
    `scale`.
    """

    key: str
    label: str
    spec: str
    unit: str = ""
    axis: str
    scale: float = 1
    paper: PaperFigure

    @property
    def name(self) -> str:
        """The name outside of a table."""
        return self.label

    def text(self, value: float | None, sign: str = "") -> str:
        """The value with its unit, or a dash if undefined; `sign` as in a format spec."""
        return NONE if value is None else format(value, sign + self.spec) + self.unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy(Metric):
    """A metric of detections against the ground truth; `stat` is its index in `COCOeval.stats`.

    `headline`: represents its task, is reported per class and plotted over the steps. `resampled`:
    has a bootstrap interval over images. `in_journal`: reported by evaluations during training.
    `in_line`: printed by `eval` and `train`; files have all metrics.
    """

    task: Task
    stat: int
    headline: bool = False
    resampled: bool = False
    in_journal: bool = False
    in_line: bool = True

    @property
    def name(self) -> str:
        """Task and label, such as "box AP"."""
        return f"{self.task} {self.label}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostMetric(Metric):
    """A cost of a model; `shown` formats it in tables.

    `exact`: the same in every run on every device. `per_evaluation`: differs between evaluations of
    one run. `adds_up`: a run that continues another includes the other's cost.
    """

    shown: Callable[[float], str]
    exact: bool = False
    per_evaluation: bool = False
    adds_up: bool = False


def _coco(task: Task) -> tuple[Accuracy, ...]:
    """COCO's metrics of one task.

    AP over IoU .50:.95, at .50 and at .75; by size, small up to 32 x 32 pixels, large from 96 x 96;
    recall with up to 1, 10 and 100 detections per image.
    """

    def metric(suffix: str, label: str, stat: int, **marks: bool) -> Accuracy:
        key = f"{task}_{suffix}"
        description = f"{task.capitalize()} {label} on COCO val2017."
        return Accuracy(
            key=key,
            label=label,
            spec=".1f",
            unit="",
            axis="points",
            scale=1,
            paper=PaperFigure(key, description, ".1f", "", "points"),
            task=task,
            stat=stat,
            **marks,
        )

    return (
        metric("ap", "AP", 0, headline=True, resampled=True, in_journal=True),
        metric("ap50", "AP50", 1, in_journal=True),
        metric("ap75", "AP75", 2),
        metric("ap_s", "APs", 3),
        metric("ap_m", "APm", 4),
        metric("ap_l", "APl", 5),
        metric("ar1", "AR1", 6, in_line=False),
        metric("ar10", "AR10", 7, in_line=False),
        metric("ar100", "AR100", 8),
        metric("ar_s", "ARs", 9, in_line=False),
        metric("ar_m", "ARm", 10, in_line=False),
        metric("ar_l", "ARl", 11, in_line=False),
    )


def _duration(seconds: float) -> str:
    if seconds >= 2 * HOUR:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2f} s"


ACCURACIES: Final = tuple(metric for task in TASKS for metric in _coco(task))
COSTS: Final = (
    CostMetric(
        key="train_s",
        label="training time",
        spec=",.0f",
        unit=" s",
        axis="s",
        paper=PaperFigure(
            "hours",
            "Training time; comparable only on the same kind of GPU.",
            ".1f",
            " h",
            "h",
            on_gpu=True,
        ),
        shown=_duration,
        adds_up=True,
    ),
    CostMetric(
        key="step_s",
        label="step time",
        spec=".4f",
        unit=" s",
        axis="s",
        paper=PaperFigure("step_s", "Seconds of one training step.", ".3f", " s", "s"),
        shown=lambda value: f"{value:.3f} s",
    ),
    CostMetric(
        key="peak_memory_gb",
        label="peak memory",
        spec=".2f",
        unit=" GB",
        axis="GB",
        paper=PaperFigure("memory_gb", "Peak training memory.", ".1f", " GB", "GB"),
        shown=lambda value: f"{value:.2f} GB",
    ),
    CostMetric(
        key="parameters",
        label="parameters",
        spec=",.0f",
        axis="millions",
        scale=1e6,
        paper=PaperFigure("params_m", "Parameters in millions.", ".1f", " M", "millions"),
        shown=lambda value: f"{value / 1e6:.2f} M",
        exact=True,
    ),
    CostMetric(
        key="gmacs",
        label="GMACs",
        spec=",.2f",
        axis="for a photograph",
        paper=PaperFigure(
            "gmacs", "Multiply-accumulates in units of 1e9.", ",.1f", "", "as published"
        ),
        shown=lambda value: f"{value:,.1f}",
        exact=True,
        per_evaluation=True,
    ),
)
METRICS: Final[Mapping[str, Metric]] = {metric.key: metric for metric in (*ACCURACIES, *COSTS)}
HEADLINES: Final[Mapping[Task, Accuracy]] = {
    metric.task: metric for metric in ACCURACIES if metric.headline
}
BEST: Final = HEADLINES["box"]
"""The metric that selects the best checkpoint and that plots show."""


def by_task(keys: Container[str]) -> dict[Task, list[Accuracy]]:
    """The accuracies among `keys` by task, without tasks that have none."""
    grouped = {task: [m for m in ACCURACIES if m.task == task and m.key in keys] for task in TASKS}
    return {task: metrics for task, metrics in grouped.items() if metrics}
