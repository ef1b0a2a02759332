"""`mimdet convert`: turn a released detector into a run, or a run into a weights file."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mimdet_cli.commands.options import JsonOption, SetOption, complete_recipe, examples
from mimdet_cli.console import Console
from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.load import load_recipe

EPILOG = examples(
    "mimdet convert mimdet_base.pth --recipe base_50pct --out runs/released",
    "mimdet convert my.pth --recipe my.yaml --classes names.txt --out runs/my",
    "mimdet convert runs/demo --to detectron2 --out demo.safetensors",
)


def convert(
    source: Annotated[
        Path,
        typer.Argument(metavar="FILE_OR_RUN", help="Released weights; with --to, a run folder."),
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="PATH", help="Run folder to create; with --to, the file to write."),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="RECIPE",
            help="Recipe of the released detector: recipe file, or name of a shipped recipe.",
            autocompletion=complete_recipe,
        ),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Key layout of the released file; default: the only one that the backbone reads.",
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Class names, one per line."),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="COCO file whose categories name the classes."),
    ] = None,
    overrides: SetOption = None,
    to: Annotated[
        Literal["detectron2", "safetensors"] | None,
        typer.Option("--to", help="Write the run's weights in this key layout."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Convert a released detector to a run, or a run to weights."""
    given = {
        "--recipe": recipe,
        "--format": layout,
        "--classes": classes,
        "--annotations": annotations,
        "--set": overrides,
    }
    _refuse_mixture([name for name, value in given.items() if value], to)
    console = Console()
    if to is not None:
        from mimdet_cli.jobs.exporting import export

        exported = export(source, to=to, out=out, progress=console)
        console.result(exported.to_json() if as_json else exported.lines())
        return
    resolved = load_recipe(str(recipe), overrides or [])

    from mimdet_cli.jobs.converting import Released
    from mimdet_cli.jobs.converting import convert as run_conversion

    released = Released(source, layout, classes, annotations)
    report = run_conversion(resolved, released, out=out, progress=console)
    console.result(report.to_json() if as_json else report.lines())


def _refuse_mixture(given: list[str], to: str | None) -> None:
    """Each direction has its own options."""
    if to is not None and given:
        raise RecipeError(
            f"{given[0]} and --to cannot be combined.",
            fix=f"omit {', '.join(given)}: a run has its own recipe and classes.",
        )
    if to is None and "--recipe" not in given:
        raise RecipeError(
            "give --recipe or --to.",
            fix="--recipe turns a released file into a run, --to turns a run into a file.",
        )
    if {"--classes", "--annotations"} <= set(given):
        raise RecipeError(
            "--classes and --annotations cannot be combined.", fix="give one of them."
        )
