"""The command table."""

from typing import Annotated

import typer

from mimdet_cli import __version__
from mimdet_cli.commands import (
    ablate,
    backbones,
    convert,
    data,
    evaluate,
    predict,
    profile,
    pull,
    recipe,
    train,
    weights,
    zoo,
)
from mimdet_cli.commands.options import MARKUP, examples
from mimdet_cli.console import Console

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=MARKUP,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "mimdet data demo shapes",
        "mimdet train demo --data shapes --out runs/demo",
        "mimdet eval runs/demo",
        "mimdet predict runs/demo shapes/val --out drawn",
    ),
)
app.command("train", epilog=train.EPILOG)(train.train)
app.command("eval", epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command("predict", epilog=predict.EPILOG)(predict.predict)
app.command("pull", epilog=pull.EPILOG)(pull.pull)
app.command("convert", epilog=convert.EPILOG)(convert.convert)
app.command("profile", epilog=profile.EPILOG)(profile.profile)
app.command("ablate", epilog=ablate.EPILOG)(ablate.ablate)
app.command("zoo", epilog=zoo.EPILOG)(zoo.zoo)
app.add_typer(weights.app, name="weights")
app.add_typer(recipe.app, name="recipe")
app.add_typer(backbones.app, name="backbones")
app.add_typer(data.app, name="data")


def _show_version(wanted: bool) -> None:
    if wanted:
        Console().result(f"mimdet {__version__}")
        raise typer.Exit


@app.callback()
def mimdet(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    traceback: Annotated[
        bool,
        typer.Option("--traceback", help="Show Python tracebacks; valid after any command."),
    ] = False,
    no_plugins: Annotated[
        bool,
        typer.Option(
            "--no-plugins", help="Disable third-party backbones; valid after any command."
        ),
    ] = False,
) -> None:
    """Fine-tune plain vision transformers for detection and instance segmentation."""
