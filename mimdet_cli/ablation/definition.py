"""An ablation as data: the question, what is trained, what is only evaluated, the claims to judge.

A *training* is one recipe with a label: a point of `axes` or one of `variants`. An *evaluation* is
a way to score a trained model: a point of `evaluate.axes` or one of `evaluate.variants`. A *cell*
is a training under an evaluation, and a row of the report; it is called `TRAINING, EVALUATION`, or
by the one of the two that the ablation varies. A point of axes is called after the last words of
its keys: `train_ratio=0.5, eval_ratio=1`.
"""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetPydanticSchema, create_model
from pydantic_core.core_schema import literal_schema

from backbones.options.base import Count, Section
from mimdet_cli.evaluation.metrics import METRICS

Settings = dict[str, Any]
"""Dotted recipe keys and their values."""
Axes = dict[str, Annotated[list[Any], Field(min_length=1)]]
"""Dotted recipe keys and the values that each takes."""
MetricKey = Annotated[str, GetPydanticSchema(lambda _type, _next: literal_schema(list(METRICS)))]
"""The key of a metric in `evaluation.metrics`."""
Metrics = tuple[MetricKey, ...]
Cells = Annotated[list[str], Field(min_length=2)]


class Variant(Section):
    """A named training: other recipe keys, by their dotted names, beside the keys below."""

    model_config = ConfigDict(extra="allow")

    recipe: str | None = None
    """Recipe in place of the ablation's base."""
    after: str | None = None
    """Label of the training whose last checkpoint this one starts from."""

    @property
    def settings(self) -> Settings:
        """The recipe keys that it changes."""
        return dict(self.model_extra or {})


class EvaluationVariant(Section):
    """A named evaluation: recipe keys, by their dotted names, beside the key below."""

    model_config = ConfigDict(extra="allow")

    evals: Count = 1
    """Sampled evaluations that are ensembled."""

    @property
    def settings(self) -> Settings:
        """The recipe keys that it changes."""
        return dict(self.model_extra or {})


class Evaluate(Section):
    """What is only evaluated, once for every training; nothing here trains a model."""

    axes: Axes = Field(default_factory=dict)
    """Recipe keys and values, each combination an evaluation."""
    variants: dict[str, EvaluationVariant] = Field(default_factory=dict)
    """Named evaluations beside those of the axes."""
    at_least: dict[str, str] = Field(default_factory=dict)
    """Evaluation key -> training key: evaluations below the training's value are left out."""


class Higher(Section):
    """Holds where `cell` is higher than `than` by more than `by`."""

    kind: Literal["higher"]
    cell: str
    """The cell that should be higher."""
    than: str
    """The cell that it is compared with."""
    by: float = 0.0
    """Margin, in the metric's unit."""


class NotLower(Section):
    """Holds where `cell` is lower than `than` by less than `by`."""

    kind: Literal["not_lower"]
    cell: str
    """The cell that should not be lower."""
    than: str
    """The cell that it is compared with."""
    by: float
    """Tolerated loss, in the metric's unit."""


class Rises(Section):
    """Holds where the metric rises from each of `cells` to the next."""

    kind: Literal["rises"]
    cells: Cells
    """Cells in order."""


class Falls(Section):
    """Holds where the metric falls from each of `cells` to the next."""

    kind: Literal["falls"]
    cells: Cells
    """Cells in order."""


class Saturates(Section):
    """Holds where the last step along `cells` gains less than the first."""

    kind: Literal["saturates"]
    cells: Annotated[list[str], Field(min_length=3)]
    """Cells in order."""


Rule = Annotated[Higher | NotLower | Rises | Falls | Saturates, Field(discriminator="kind")]


class Claim(Section):
    """A sentence of the paper and the rule that judges it, fixed before anything runs."""

    says: str
    """The claim in one sentence."""
    metric: MetricKey = "box_ap"
    """What is compared."""
    rule: Rule
    """When it holds."""

    @property
    def cells(self) -> list[str]:
        """The cells that it speaks of, in order."""
        rule = self.rule
        return [rule.cell, rule.than] if isinstance(rule, Higher | NotLower) else rule.cells


if TYPE_CHECKING:
    _Figures = Section
else:  # a field for each metric, by the name that papers' figures have
    _Figures = create_model(
        "_Figures",
        __base__=Section,
        **{
            one.paper.field: (float | None, Field(default=None, description=one.paper.help))
            for one in METRICS.values()
        },
    )


class Paper(_Figures):
    """Published figures of one cell; AP in points, the rest in the named units."""

    gpu: str | None = None
    """The GPU of `hours`."""

    def value(self, field: str) -> float | None:
        """The figure in a field."""
        return getattr(self, field)


class Ablation(Section):
    """One table: what is asked, run, judged and compared."""

    question: str
    """What the table answers, in one sentence."""
    source: str = "this project"
    """Paper and table."""
    base: str = "demo"
    """Recipe that every training starts from."""
    set: Settings = Field(default_factory=dict)
    """Recipe keys that every training changes, such as {backbone.fill: mask}."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Every training runs once for each seed."""
    axes: Axes = Field(default_factory=dict)
    """Recipe keys and values, each combination a training."""
    variants: dict[str, Variant] = Field(default_factory=dict)
    """Named trainings beside those of the axes."""
    evaluate: Evaluate = Evaluate()
    """What is only evaluated."""
    default: str | None = None
    """The cell that the others are compared with; null: the first."""
    metrics: Metrics = ("box_ap", "mask_ap", "train_s", "peak_memory_gb", "parameters")
    """Tables and columns of the report."""
    plot: MetricKey | None = None
    """What the plot's x axis shows against box AP; null: the cells in order."""
    claims: list[Claim] = Field(default_factory=list)
    """Sentences to judge."""
    paper: dict[str, Paper] = Field(default_factory=dict)
    """Published figures by cell."""
    notes: list[str] = Field(default_factory=list)
    """What a reader of the table has to know."""
