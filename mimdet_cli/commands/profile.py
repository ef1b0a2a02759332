"""`mimdet profile`: the cost of a recipe's detector next to the published figures."""

import re
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
from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.load import load_recipe
from mimdet_cli.recipe.overrides import parse_overrides

SMALLEST = 64  # two cells on p5: batch norm cannot learn from one

EPILOG = examples(
    "mimdet profile base_50pct",
    "mimdet profile base_50pct --size 800x1280 --ratio 0.5 --device cuda",
    "mimdet profile vit_adapter_small_1x --json",
)


def profile(
    recipe: RecipeArgument,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Image size before padding; default: that of a 480x640 photograph in evaluation.",
        ),
    ] = None,
    ratio: Annotated[
        float | None,
        typer.Option(
            metavar="R",
            help="Share of tokens that the backbone sees, in evaluation and training; default: the "
            "recipe's.",
        ),
    ] = None,
    device: DeviceOption = None,
    classes: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Number of classes; default: the data's, else 80."),
    ] = None,
    data: DataOption = None,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a recipe's parameters, MACs, latency and memory."""
    shape = None if size is None else height_and_width(size)
    sets = parse_overrides(overrides or [])
    resolved = load_recipe(recipe, sets, data=data)

    from mimdet_cli.jobs.profiling import profile as run_profile

    console = Console()
    report = run_profile(
        resolved,
        size=shape,
        ratio=ratio,
        overrides=sets,
        classes=classes,
        device=device,
        progress=console,
    )
    console.result(report.to_json() if as_json else report.lines())


def height_and_width(text: str) -> tuple[int, int]:
    """Parse `800x1280`."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    sides = (int(match[1]), int(match[2])) if match else (0, 0)
    if min(sides) < SMALLEST:
        raise RecipeError(
            f"'{text}' is not an image size.",
            where="--size",
            fix=f"give height x width in pixels, at least {SMALLEST} each, such as 800x1280.",
        )
    return sides
