"""The run's README: a model card that says what was trained, on what, how well, and how to use it.

Every path in it is relative to the run folder, so that the folder can be moved and published.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mimdet_cli.evaluation.metrics import HEADLINES
from mimdet_cli.files import write_text
from mimdet_cli.reporting.tables import ap_rows, class_rows
from mimdet_cli.text_table import markdown_table
from mimdet_cli.words import first_of

CARD: Final = "README.md"
MOST_CLASSES: Final = 100
Facts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What the card says; the job that ran fills it.

    `training` and `data` are short facts by name, in the order shown. `weights` are the lines of
    the load report, or one that says that the weights were random; `weights_licence` is None where
    no licence of others is known to apply. `ap` is the AP report's JSON
    record of the checkpoint `scored` ("last", "best"), None if nothing was scored. `pictures` are
    captions by path relative to the run folder; a picture that is not there is left out.
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
    scored: str = "last"
    pictures: Facts = field(default_factory=dict)
    notes: Sequence[str] = ()


def write_card(run_folder: Path, summary: RunSummary) -> Path:
    """Write `README.md` of the run as a whole, and return its path."""
    sections = [
        f"# {summary.name}",
        _opening(summary),
        _results(summary),
        *_pictures(run_folder, summary.pictures),
        "## Use",
        _usage(run_folder.resolve().name),
        "## Training",
        f"```bash\n{summary.command}\n```",
        _facts(summary.training),
        "Every setting is in [`recipe.yaml`](recipe.yaml).",
        "## Data",
        _facts({**summary.data, "classes": _classes(summary.classes)}),
        *(f"- {note}" for note in summary.notes),
        "## Weights",
        "```text\n" + "\n".join(summary.weights) + "\n```",
        _licence(summary.weights_licence),
        "## Environment",
        _facts({key: _value(value) for key, value in summary.environment.items()}),
    ]
    path = run_folder / CARD
    write_text(path, "\n\n".join(section for section in sections if section) + "\n")
    return path


def _opening(summary: RunSummary) -> str:
    masks = summary.ap is None or HEADLINES["mask"].key in summary.ap
    task = "object detection and instance segmentation" if masks else "object detection"
    number = len(summary.classes)
    return (
        f"A Mask R-CNN for {task} of {number} class{'' if number == 1 else 'es'}, trained with "
        f"mimdet {summary.environment['mimdet']}."
    )


def _results(summary: RunSummary) -> str:
    """The AP tables, or a sentence why there are none."""
    ap = summary.ap
    if ap is None:
        return "## Results\n\nThis run was not scored."
    parts = [
        "## Results",
        f"COCO AP in points of 100 of `{summary.scored}/` on {ap['images']:,} images; "
        f'{ap["detections"]:,} detections; "-": no such object.',
        markdown_table(*ap_rows(ap)),
    ]
    if 1 < len(ap["per_class"]) <= MOST_CLASSES:
        table = markdown_table(*class_rows(ap))
        parts.append(f"<details><summary>By class</summary>\n\n{table}\n\n</details>")
    return "\n\n".join(parts)


def _pictures(run_folder: Path, pictures: Facts) -> list[str]:
    return [
        f"![{caption}]({path})\n\n*{caption}*"
        for path, caption in pictures.items()
        if (run_folder / path).is_file()
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


def _classes(names: Sequence[str]) -> str:
    return f"{len(names)}: {first_of(names, MOST_CLASSES)}"


def _licence(licence: str | None) -> str:
    if licence is None:
        return ""
    return (
        f"Licence of the initial weights: {licence}. What was trained from them may inherit its "
        "conditions; check before you publish or sell it."
    )


def _value(value: object) -> str:
    """A value of the environment record in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} ({of})" for key, of in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
