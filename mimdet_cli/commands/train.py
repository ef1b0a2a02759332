"""`mimdet train`: train a recipe and write a run folder."""

from pathlib import Path
from typing import Annotated

import typer

from mimdet_cli.commands.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    RecipeArgument,
    SetOption,
    examples,
)
from mimdet_cli.console import Console
from mimdet_cli.jobs.out_folder import choose_folder
from mimdet_cli.recipe.load import load_recipe

EPILOG = examples(
    "mimdet data demo shapes",
    "mimdet train demo --data shapes --out runs/demo",
    "mimdet train base_50pct --data coco --set train.batch=16",
    "mimdet train demo --data shapes --out runs/demo --resume",
)


def train(
    recipe: RecipeArgument,
    data: DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Run folder; default: runs/NAME-TIME.",
        ),
    ] = None,
    overrides: SetOption = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out from its last checkpoint.")
    ] = False,
    device: DeviceOption = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Random seed (sets seed).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a detector from a recipe."""
    resolved = load_recipe(recipe, overrides or [], data=data, seed=seed)
    folder = choose_folder(out, resolved.recipe.name, resume=resume)

    from mimdet_cli.jobs.training import train as run_training

    console = Console()
    report = run_training(resolved, out=folder, resume=resume, device=device, progress=console)
    console.result(report.to_json() if as_json else report.lines())
