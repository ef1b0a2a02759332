"""The figures that are reported: one record each, in one table that everything else iterates.

A metric of `COCOeval` is one more entry below. One that something else computes is an entry, its
evaluator, and the call of it: `coco_ap` for accuracies, `ablation.run.cell` for costs.

Accuracies are in points of 100, None where undefined. In a record of them (`eval --json`,
`results.json`, a cell's `ap`) a task that was not scored has no keys at all. The table is in the
order in which figures are shown.
"""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Final, Literal

Task = Literal["box", "mask"]
"""What is compared with the ground truth."""
TASKS: Final[tuple[Task, ...]] = ("box", "mask")
NONE: Final = "-"
HOUR: Final = 3600


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """How papers state a metric: in which field of an ablation's `paper`, and in which unit.

    `on_gpu`: figures are comparable on one kind of GPU alone.
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
    """A figure: its name in files, its name for a person, how it is written.

    `spec` and `unit` write it in a sentence; `axis` is the unit of an axis, in steps of `scale`.
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
        """What it is called outside a table of its own."""
        return self.label

    def text(self, value: float | None, sign: str = "") -> str:
        """The value with its unit, or a dash where undefined; `sign` as in a format."""
        return NONE if value is None else format(value, sign + self.spec) + self.unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy(Metric):
    """A figure of detections against the ground truth, `stat` its place in `COCOeval.stats`.

    `headline` stands for its task: it is reported by class and drawn over the steps. `resampled`:
    its interval over images is known (`bootstrap`). `in_journal`: the evaluations during training
    report it. `in_line`: `eval` and `train` print it, beside all the others in files.
    """

    task: Task
    stat: int
    headline: bool = False
    resampled: bool = False
    in_journal: bool = False
    in_line: bool = True

    @property
    def name(self) -> str:
        """With its task, such as "box AP"."""
        return f"{self.task} {self.label}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CostMetric(Metric):
    """What a model costs, `shown` so in a table; `exact` is the same in every run on every device.

    `per_evaluation`: each evaluation of a run has its own. `adds_up`: a run that goes on from
    another one counts that one's too.
    """

    shown: Callable[[float], str]
    exact: bool = False
    per_evaluation: bool = False
    adds_up: bool = False


def _coco(task: Task) -> tuple[Accuracy, ...]:
    """COCO's numbers of one task.

    Averages over IoU .50:.95, at .50 and at .75; by size, small up to 32 x 32 pixels, large from
    96 x 96; recall with so many detections in an image.
    """

    def one(suffix: str, label: str, stat: int, **marks: bool) -> Accuracy:
        key = f"{task}_{suffix}"
        said = f"{task.capitalize()} {label} on COCO val2017."
        return Accuracy(
            key=key,
            label=label,
            spec=".1f",
            unit="",
            axis="points",
            scale=1,
            paper=PaperFigure(key, said, ".1f", "", "points"),
            task=task,
            stat=stat,
            **marks,
        )

    return (
        one("ap", "AP", 0, headline=True, resampled=True, in_journal=True),
        one("ap50", "AP50", 1, in_journal=True),
        one("ap75", "AP75", 2),
        one("ap_s", "APs", 3),
        one("ap_m", "APm", 4),
        one("ap_l", "APl", 5),
        one("ar1", "AR1", 6, in_line=False),
        one("ar10", "AR10", 7, in_line=False),
        one("ar100", "AR100", 8),
        one("ar_s", "ARs", 9, in_line=False),
        one("ar_m", "ARm", 10, in_line=False),
        one("ar_l", "ARl", 11, in_line=False),
    )


def _duration(seconds: float) -> str:
    if seconds >= 2 * HOUR:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2f} s"


ACCURACIES: Final = tuple(one for task in TASKS for one in _coco(task))
COSTS: Final = (
    CostMetric(
        key="train_s",
        label="training time",
        spec=",.0f",
        unit=" s",
        axis="s",
        paper=PaperFigure(
            "hours",
            "Training time; comparable on one kind of GPU alone.",
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
METRICS: Final[Mapping[str, Metric]] = {one.key: one for one in (*ACCURACIES, *COSTS)}
HEADLINES: Final[Mapping[Task, Accuracy]] = {one.task: one for one in ACCURACIES if one.headline}
BEST: Final = HEADLINES["box"]
"""By what the best checkpoint is chosen, and what plots show."""


def by_task(keys: Container[str]) -> dict[Task, list[Accuracy]]:
    """The accuracies among `keys`, of each task that has any."""
    found = {task: [m for m in ACCURACIES if m.task == task and m.key in keys] for task in TASKS}
    return {task: metrics for task, metrics in found.items() if metrics}
