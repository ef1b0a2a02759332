"""Options shared by several commands, and the examples below their help."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from mimdet_cli.recipe.catalog import shipped_names

# Rich panels on a terminal, plain text in pipes and logs.
MARKUP: Literal["rich"] | None = "rich" if sys.stdout.isatty() else None


def examples(*lines: str) -> str:
    """The epilog of a command's help: example commands, one per line."""
    if MARKUP:
        return "\n\n".join(["[bold]Examples[/]", *lines])
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def complete_recipe(incomplete: str) -> list[str]:
    """Shell completion: shipped recipes that start with `incomplete`."""
    return [name for name in shipped_names() if name.startswith(incomplete)]


def complete_weights(incomplete: str) -> list[str]:
    """Catalogued names that begin with what is typed."""
    from mimdet_cli.weights.catalog import entries

    return [name for name in entries() if name.startswith(incomplete)]


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="Recipe file, or name of a shipped recipe.",
        autocompletion=complete_recipe,
    ),
]
ShippedArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="Recipe file, or name of a shipped recipe.",
        autocompletion=complete_recipe,
    ),
]
RunArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run folder, or its `best`, `last` or `step-N`."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data set in COCO layout (sets data.root)."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value; repeatable."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="D",
        help="cpu, cuda, cuda:N or mps; default: the best available.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Names from `mimdet weights ls`, or OWNER/REPOSITORY on the Hub.",
        autocompletion=complete_weights,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be fetched without fetching it.")
]
FromOption = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="DIR",
        help="Read the weights from a folder filled by `mimdet weights export`.",
    ),
]
AsOption = Annotated[
    str | None,
    typer.Option(
        "--as", metavar="NAME", help="Name for OWNER/REPOSITORY; default: the repository's."
    ),
]
FormatOption = Annotated[
    str | None,
    typer.Option("--format", metavar="F", help="Key layout of an uncatalogued file."),
]
FileOption = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help="Use a different file of the repository."),
]
RevisionOption = Annotated[
    str | None,
    typer.Option("--revision", metavar="REV", help="Use a different branch, tag or commit."),
]
