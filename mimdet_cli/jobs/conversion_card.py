"""The README of a converted run: which file it is, and that nothing was trained here."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mimdet_cli import __version__
from mimdet_cli.data.sample import Category
from mimdet_cli.files import write_text
from mimdet_cli.recipe.schema import Recipe
from mimdet_cli.reporting.run_report import CARD, MOST_CLASSES
from mimdet_cli.text_table import markdown_table
from mimdet_cli.weights.load import LoadReport
from mimdet_cli.words import first_of


@dataclass(frozen=True, slots=True)
class Conversion:
    """A released file after conversion; `named` says where the names of the classes are from."""

    file: str
    sha256: str
    layout: str
    categories: Sequence[Category]
    named: str
    report: LoadReport
    notes: Sequence[str]


def write_conversion_card(run: Path, recipe: Recipe, conversion: Conversion) -> None:
    """Write `run/README.md`."""
    number = len(conversion.categories)
    names = first_of([one.name for one in conversion.categories], MOST_CLASSES)
    facts = {
        "file": conversion.file,
        "sha256": conversion.sha256,
        "format": conversion.layout,
        "recipe": recipe.name,
        "backbone": recipe.backbone.name,
    }
    sections = [
        f"# {recipe.name}, converted",
        f"A Mask R-CNN that others trained and released, converted by mimdet {__version__}. "
        "Nothing was trained or scored here. The licence of the released file applies.",
        markdown_table(("", ""), list(facts.items())),
        "## Use",
        "```bash\n"
        "mimdet eval RUN --data DIR                # AP on the val split of DIR\n"
        "mimdet predict RUN photo.jpg --out drawn  # drawings and a results file\n"
        "mimdet train RUN/recipe.yaml --data DIR --set init.weights=null "
        "--set init.checkpoint=RUN\n"
        "```",
        "RUN is this folder; the last line trains on from it, on the same classes or others. "
        "Every setting is in [`recipe.yaml`](recipe.yaml); `last/` holds the "
        "weights as safetensors.",
        "## Classes",
        f"{number}, {conversion.named}: {names}.",
        "## Weights",
        "```text\n" + "\n".join([*conversion.report.lines(), *conversion.notes]) + "\n```",
    ]
    write_text(run / CARD, "\n\n".join(sections) + "\n")
