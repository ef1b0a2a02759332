"""The README of a run folder: the model card of a trained or of a converted detector.

Every path in it is relative to the run folder, so that the folder can be moved and published.
"""

import json
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mimdet_cli import __version__
from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.split import CocoSplit
from mimdet_cli.evaluation.metrics import HEADLINES, by_task
from mimdet_cli.files import write_text
from mimdet_cli.jobs.run_folder import ENVIRONMENT, WEIGHTS
from mimdet_cli.jobs.scoring import Scored
from mimdet_cli.recipe.schema import Recipe
from mimdet_cli.text_table import Cell, markdown_table
from mimdet_cli.weights.load import LoadReport
from mimdet_cli.words import counted, first_of

README: Final = "README.md"
MOST_CLASSES: Final = 100
PICTURES: Final = {
    "eval/last/predictions.png": "Ground truth and predictions on the val split",
    "curves.png": "Losses, learning rate and AP over the run",
    "eval/last/precision_recall.png": "Precision over recall on the val split",
}
Facts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What the README of a trained run says.

    `training` and `data` are short facts by name, in the order shown. `weights` are the lines of
    the load report, or one that says that the weights were random; `weights_licence` is None where
    no licence of others is known to apply. `ap` is the JSON record of the AP report of `last/`,
    None if nothing was scored. `pictures` are captions by path relative to the run folder; missing
    pictures are omitted.
    """

    name: str
    command: str
    training: Facts
    data: Facts
    classes: Sequence[str]
    weights: Sequence[str]
    weights_licence: str | None
    environment: Mapping[str, Any]
    ap: Mapping[str, Any] | None = None
    pictures: Facts = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """A released file after conversion; `named` says where the class names are from."""

    file: str
    sha256: str
    layout: str
    categories: Sequence[Category]
    named: str
    report: LoadReport
    notes: Sequence[str]


def summarise(
    run: Path, recipe: Recipe, split: CocoSplit, scored: Scored | None, steps: int, train_s: float
) -> RunSummary:
    """The facts of a finished run: its recipe, its data, and the records in its folder."""
    weights = json.loads((run / WEIGHTS).read_text(encoding="utf-8"))
    lines = [line for record in weights for line in record["lines"]]
    licences = sorted({record["licence"] for record in weights if record["licence"]})
    return RunSummary(
        name=recipe.name,
        command=f"mimdet train recipe.yaml --data {shlex.quote(recipe.data.root or 'DIR')}",
        training={
            "backbone": recipe.backbone.name,
            "steps": f"{steps:,} of {recipe.train.batch} images",
            "seed": str(recipe.seed),
            "time": f"{train_s / 60:.1f} min",
        },
        data={
            "images": f"{len(split):,} ({len(split.usable()):,} with objects)",
            "objects": f"{len(split.objects):,}",
        },
        classes=[category.name for category in split.categories],
        weights=lines or ["random initial weights"],
        weights_licence="; ".join(licences) or None,
        environment=json.loads((run / ENVIRONMENT).read_text(encoding="utf-8")),
        ap=None if scored is None else scored.ap.to_json(),
        pictures=PICTURES,
        notes=split.notes,
    )


def write_run_readme(run: Path, summary: RunSummary) -> Path:
    """Write the README of a trained run and return its path."""
    return _write(
        run,
        f"# {summary.name}",
        _opening(summary),
        _results(summary),
        *_pictures(run, summary.pictures),
        "## Use",
        _usage(run.resolve().name),
        "## Training",
        f"```bash\n{summary.command}\n```",
        _facts(summary.training),
        "Every setting is in [`recipe.yaml`](recipe.yaml).",
        "## Data",
        _facts({**summary.data, "classes": _classes(summary.classes)}),
        *(f"- {note}" for note in summary.notes),
        "## Weights",
        _plain(summary.weights),
        _licence(summary.weights_licence),
        "## Environment",
        _facts({key: _value(value) for key, value in summary.environment.items()}),
    )


def write_conversion_readme(run: Path, recipe: Recipe, conversion: Conversion) -> Path:
    """Write the README of a converted run and return its path."""
    names = first_of([category.name for category in conversion.categories], MOST_CLASSES)
    facts = {
        "file": conversion.file,
        "sha256": conversion.sha256,
        "format": conversion.layout,
        "recipe": recipe.name,
        "backbone": recipe.backbone.name,
    }
    return _write(
        run,
        f"# {recipe.name}, converted",
        f"A Mask R-CNN trained and released by others, converted by mimdet {__version__}. It was "
        "neither trained nor scored here. The licence of the released file applies.",
        _facts(facts),
        "## Use",
        "```bash\n"
        "mimdet eval RUN --data DIR                # AP on the val split of DIR\n"
        "mimdet predict RUN photo.jpg --out drawn  # drawings and a COCO results file\n"
        "mimdet train RUN/recipe.yaml --data DIR --set init.weights=null "
        "--set init.checkpoint=RUN\n"
        "```",
        "RUN is this folder; the last line fine-tunes the model, on the same classes or others. "
        "Every setting is in [`recipe.yaml`](recipe.yaml); `last/` holds the weights as "
        "safetensors.",
        "## Classes",
        f"{len(conversion.categories)}, {conversion.named}: {names}.",
        "## Weights",
        _plain([*conversion.report.lines(), *conversion.notes]),
    )


def ap_rows(report: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows of an AP report, given as its JSON record; masks only if scored."""
    tasks = by_task(report)
    values = {
        task: {metric.label: report[metric.key] for metric in metrics}
        for task, metrics in tasks.items()
    }
    labels = list(dict.fromkeys(label for row in values.values() for label in row))
    rows: list[list[Cell]] = [
        [task, *(row.get(label) for label in labels)] for task, row in values.items()
    ]
    return ["", *labels], rows


def class_rows(report: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
    """Headings and rows of the AP of every class, in the order of the report."""
    shown = [metric for metric in HEADLINES.values() if metric.key in report]
    rows: list[list[Cell]] = [
        [name, *(ap[metric.key] for metric in shown)] for name, ap in report["per_class"].items()
    ]
    return ["class", *(metric.name for metric in shown)], rows


def _write(run: Path, *sections: str) -> Path:
    path = run / README
    write_text(path, "\n\n".join(section for section in sections if section) + "\n")
    return path


def _opening(summary: RunSummary) -> str:
    masks = summary.ap is None or HEADLINES["mask"].key in summary.ap
    task = "object detection and instance segmentation" if masks else "object detection"
    classes = counted(len(summary.classes), "class", "classes")
    version = summary.environment["mimdet"]
    return f"A Mask R-CNN for {task} of {classes}, trained with mimdet {version}."


def _results(summary: RunSummary) -> str:
    """The AP tables, or a sentence in their place."""
    ap = summary.ap
    if ap is None:
        return "## Results\n\nThis run was not scored."
    parts = [
        "## Results",
        f"COCO AP in points of 100 of `last/` on {ap['images']:,} images; "
        f'{ap["detections"]:,} detections; "-": no such object.',
        markdown_table(*ap_rows(ap)),
    ]
    if 1 < len(ap["per_class"]) <= MOST_CLASSES:
        table = markdown_table(*class_rows(ap))
        parts.append(f"<details><summary>By class</summary>\n\n{table}\n\n</details>")
    return "\n\n".join(parts)


def _pictures(run: Path, pictures: Facts) -> list[str]:
    return [
        f"![{caption}]({path})\n\n*{caption}*"
        for path, caption in pictures.items()
        if (run / path).is_file()
    ]


def _usage(folder: str) -> str:
    return textwrap.dedent(
        f"""\
        ```bash
        mimdet eval {folder} --data DIR                # AP on the val split of DIR
        mimdet predict {folder} photo.jpg --out drawn  # drawings and a COCO results file
        ```

        `last/` and `best/` hold the weights as safetensors."""
    )


def _facts(facts: Facts) -> str:
    return markdown_table(("", ""), list(facts.items()))


def _plain(lines: Sequence[str]) -> str:
    return "```text\n" + "\n".join(lines) + "\n```"


def _classes(names: Sequence[str]) -> str:
    return f"{len(names)}: {first_of(names, MOST_CLASSES)}"


def _licence(licence: str | None) -> str:
    if licence is None:
        return ""
    return (
        f"Licence of the initial weights: {licence}. Models trained from them may inherit its "
        "conditions; check before you publish or sell one."
    )


def _value(value: object) -> str:
    """A value of the environment record in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} ({detail})" for key, detail in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
