"""An ablation's YAML file: its schema, where files are found, and what the command line changes.

A *training* is a recipe with a label: a point of `axes` or one of `variants`. An *evaluation* is a
way to score a trained model: a point of `evaluate.axes` or one of `evaluate.variants`. A *cell* is
a training under an evaluation and a row of the report. It is called `TRAINING, EVALUATION`, or by
the one of the two that the ablation varies. A point of axes is named after the last words of its
keys: `train_ratio=0.5, eval_ratio=1`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, GetPydanticSchema, ValidationError, create_model
from pydantic_core.core_schema import literal_schema

from backbones.options.base import Count, Section
from mimdet_cli.errors import RecipeError
from mimdet_cli.evaluation.metrics import METRICS
from mimdet_cli.recipe.catalog import shipped_folder, shown
from mimdet_cli.recipe.explain import explain
from mimdet_cli.recipe.reading import DEFAULT, Origin, read_yaml

FOLDER = "ablations"

Settings = dict[str, Any]
"""Values by dotted recipe key."""
Axes = dict[str, Annotated[list[Any], Field(min_length=1)]]
"""The values to try by dotted recipe key."""
MetricKey = Annotated[str, GetPydanticSchema(lambda _type, _next: literal_schema(list(METRICS)))]
"""The key of a metric in `evaluation.metrics`."""
Metrics = tuple[MetricKey, ...]
Cells = Annotated[list[str], Field(min_length=2)]


class _Changes(Section):
    """Recipe keys to change, by their dotted names, beside the declared fields."""

    model_config = ConfigDict(extra="allow")

    @property
    def settings(self) -> Settings:
        """The recipe keys to change."""
        return dict(self.model_extra or {})


class Variant(_Changes):
    """A named training."""

    recipe: str | None = None
    """Recipe to use instead of the ablation's base."""
    after: str | None = None
    """Label of the training whose last checkpoint this one starts from."""


class EvaluationVariant(_Changes):
    """A named evaluation."""

    evals: Count = 1
    """Number of sampled evaluations in the ensemble."""


class Evaluate(Section):
    """Evaluations to run on every training; nothing here trains a model."""

    axes: Axes = Field(default_factory=dict)
    """Recipe keys and values; each combination is an evaluation."""
    variants: dict[str, EvaluationVariant] = Field(default_factory=dict)
    """Named evaluations in addition to those of the axes."""
    at_least: dict[str, str] = Field(default_factory=dict)
    """Evaluation key -> training key: evaluations below the training's value are skipped."""


class Higher(Section):
    """Holds where `cell` is higher than `than` by more than `by`."""

    kind: Literal["higher"]
    cell: str
    """The cell that should be higher."""
    than: str
    """The cell to compare it with."""
    by: float = 0.0
    """Margin, in the metric's unit."""


class NotLower(Section):
    """Holds unless `cell` is lower than `than` by `by` or more."""

    kind: Literal["not_lower"]
    cell: str
    """The cell that should not be lower."""
    than: str
    """The cell to compare it with."""
    by: float
    """Tolerated loss, in the metric's unit."""


class Trend(Section):
    """Holds where the metric rises, or falls, from each of `cells` to the next."""

    kind: Literal["rises", "falls"]
    cells: Cells
    """Cells in order."""


class Saturates(Section):
    """Holds where the last step along `cells` gains less than the first."""

    kind: Literal["saturates"]
    cells: Annotated[list[str], Field(min_length=3)]
    """Cells in order."""


Rule = Annotated[Higher | NotLower | Trend | Saturates, Field(discriminator="kind")]


class Claim(Section):
    """A statement of the paper and the rule that judges it, fixed before anything runs."""

    says: str
    """The claim in one sentence."""
    metric: MetricKey = "box_ap"
    """The metric to compare."""
    rule: Rule
    """When the claim holds."""

    @property
    def cells(self) -> list[str]:
        """The cells that the rule compares, in order."""
        rule = self.rule
        return [rule.cell, rule.than] if isinstance(rule, Higher | NotLower) else rule.cells


if TYPE_CHECKING:
    _Figures = Section
else:  # one field per metric, under the name that papers use
    _Figures = create_model(
        "_Figures",
        __base__=Section,
        **{
            metric.paper.field: (float | None, Field(default=None, description=metric.paper.help))
            for metric in METRICS.values()
        },
    )


class Paper(_Figures):
    """Published figures of one cell: AP in points, the rest in the units named."""

    gpu: str | None = None
    """GPU that `hours` was measured on."""

    def value(self, field: str) -> float | None:
        """The published figure of a field."""
        return getattr(self, field)


class Ablation(Section):
    """One table: the question, the runs, the claims and the published figures."""

    question: str
    """The question that the table answers."""
    source: str = "this project"
    """Paper and table."""
    base: str = "demo"
    """Recipe that every training starts from."""
    set: Settings = Field(default_factory=dict)
    """Recipe keys that every training changes, such as {backbone.fill: mask}."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    """Every training runs once per seed."""
    axes: Axes = Field(default_factory=dict)
    """Recipe keys and values; each combination is a training."""
    variants: dict[str, Variant] = Field(default_factory=dict)
    """Named trainings in addition to those of the axes."""
    evaluate: Evaluate = Evaluate()
    """Evaluations to run on every training."""
    default: str | None = None
    """The cell to compare the others with; null: the first."""
    metrics: Metrics = ("box_ap", "mask_ap", "train_s", "peak_memory_gb", "parameters")
    """Tables and columns of the report."""
    plot: MetricKey | None = None
    """Metric on the plot's x axis, against box AP; null: the cells in order."""
    claims: list[Claim] = Field(default_factory=list)
    """Claims to judge."""
    paper: dict[str, Paper] = Field(default_factory=dict)
    """Published figures by cell."""
    notes: list[str] = Field(default_factory=list)
    """Remarks shown below the table."""


@dataclass(frozen=True, slots=True)
class Definition:
    """An ablation, its short name, its file, and the origin of each of its keys."""

    name: str
    path: Path
    ablation: Ablation
    origins: Mapping[str, Origin]

    def origin(self, *keys: str) -> Origin:
        """Where the value below `keys` was written; the default if nothing set it."""
        return self.origins.get(".".join(keys), DEFAULT)

    def recipe(self, name: str) -> str | Path:
        """A recipe that the ablation names: a file beside it, else a name to look up."""
        beside = self.path.parent / name
        return beside if beside.is_file() else name


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for: an ablation and how it differs from its file.

    `overrides` are the texts of `--set`, `added` the names of `--add`; `out` is the folder of all
    runs.
    """

    name: str
    base: str | None = None
    data: Path | None = None
    seeds: int | None = None
    overrides: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    out: Path = Path("runs")

    def arguments(self) -> list[str]:
        """The words after `mimdet ablate` that make the same request, without --out."""
        words = [self.name]
        words += [] if self.base is None else ["--base", self.base]
        words += [] if self.data is None else ["--data", str(self.data)]
        words += [] if self.seeds is None else ["--seeds", str(self.seeds)]
        words += [word for text in self.overrides for word in ("--set", text)]
        words += [word for name in self.added for word in ("--add", name)]
        return words


def shipped_ablations() -> list[str]:
    """Names of the shipped ablations, sorted."""
    return sorted(path.stem for path in (shipped_folder() / FOLDER).glob("*.yaml"))


def find_ablation(name_or_file: str) -> Path:
    """An existing file, else a shipped ablation."""
    path = Path(name_or_file)
    if path.is_file():
        return path
    names = shipped_ablations()
    stem = path.name.removesuffix(".yaml")
    if stem in names:
        return shipped_folder() / FOLDER / f"{stem}.yaml"
    near = get_close_matches(stem, names, n=1)
    raise RecipeError(
        f"there is no ablation '{name_or_file}'.",
        fix=f"did you mean '{near[0]}'?"
        if near
        else "give a YAML file or a name from `mimdet ablate ls`.",
    )


def read_definition(name_or_file: str) -> Definition:
    """Read a file or a shipped ablation; all of its schema errors are reported together."""
    path = find_ablation(name_or_file)
    document = read_yaml(path, shown(path))
    try:
        ablation = Ablation.model_validate_json(json.dumps(document.values), strict=True)
    except ValidationError as error:
        found = explain(error, Ablation, document.origins, document="an ablation")
        raise RecipeError.joined(found) from error
    return Definition(path.stem, path, ablation, document.origins)
