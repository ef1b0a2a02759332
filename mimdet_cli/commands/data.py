"""`mimdet data`: generate data sets."""

from pathlib import Path
from typing import Annotated

import typer

from mimdet_cli.commands.options import MARKUP, examples
from mimdet_cli.console import Console

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=MARKUP, epilog=examples("mimdet data demo shapes")
)

DEMO_EPILOG = examples(
    "mimdet data demo shapes",
    "mimdet data demo shapes --train 100 --val 100 --size 256 --seed 7",
)


@app.callback()
def data() -> None:
    """Generate data sets."""


@app.command("demo", epilog=DEMO_EPILOG)
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to create.")],
    train: Annotated[
        int, typer.Option(min=4, max=100_000, metavar="N", help="Number of training images.")
    ] = 1000,
    val: Annotated[
        int, typer.Option(min=4, max=100_000, metavar="N", help="Number of validation images.")
    ] = 120,
    size: Annotated[
        int,
        typer.Option(min=128, max=1024, metavar="PX", help="Side of the square images."),
    ] = 128,
    seed: Annotated[
        int, typer.Option(min=0, metavar="S", help="Seed; the same seed gives the same images.")
    ] = 0,
) -> None:
    """Generate images of coloured shapes, with masks, in COCO layout."""
    from mimdet_cli.data.synthetic import write_demo

    made = write_demo(folder, train=train, val=val, size=size, seed=seed)
    console = Console()
    if not made:
        console.say("the folder already contains this data set; nothing written")
    console.result(f"{folder}: {train} train images, {val} val images of {size} x {size}")
