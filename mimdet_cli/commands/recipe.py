"""`mimdet recipe`: list, show, copy and check recipes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mimdet_cli import __version__, backbone_options, plugins
from mimdet_cli.backbone_options import add_to_recipe_schema, complete_for_display
from mimdet_cli.commands.options import (
    MARKUP,
    JsonOption,
    RecipeArgument,
    SetOption,
    ShippedArgument,
    examples,
)
from mimdet_cli.console import Console
from mimdet_cli.engine.schedule import scaled_lr, total_steps
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.files import write_text
from mimdet_cli.isolation import TIMEOUT_S, Question
from mimdet_cli.recipe import catalog
from mimdet_cli.recipe.load import (
    Draft,
    ResolvedRecipe,
    dump,
    load_recipe,
    read_recipe,
    to_yaml,
    validate,
)
from mimdet_cli.recipe.schema import BackboneSection, CompletedRecipe, Recipe
from mimdet_cli.text_table import align

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    epilog=examples(
        "mimdet recipe ls",
        "mimdet recipe copy base_50pct mine.yaml",
        "mimdet recipe check mine.yaml",
    ),
)


@app.callback()
def recipe() -> None:
    """List, show, copy and check recipes."""


@app.command("ls", epilog=examples("mimdet recipe ls", "mimdet recipe ls --json"))
def ls(as_json: JsonOption = False) -> None:
    """List the shipped recipes with their expected AP."""
    folder = catalog.shipped_folder()
    headers = {
        name: catalog.read_header((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in catalog.shipped_names()
    }
    console = Console()
    if as_json:
        console.result({name: header.to_json() for name, header in headers.items()})
        return
    console.table(
        ("name", "expected", "what"),
        [(name, h.expected.partition(" (")[0], h.summary) for name, h in headers.items()],
    )


@app.command(
    "show",
    epilog=examples(
        "mimdet recipe show base_50pct",
        "mimdet recipe show base_50pct --resolved --set train.batch=16",
        "mimdet recipe show base_25pct --origin",
    ),
)
def show(
    name: ShippedArgument,
    resolved: Annotated[
        bool,
        typer.Option("--resolved", help="Print every value, with bases and defaults merged in."),
    ] = False,
    origin: Annotated[
        bool, typer.Option("--origin", help="Print every value and where it is set.")
    ] = False,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a recipe's file, or all of its values."""
    console = Console()
    if not (resolved or origin or overrides or as_json):
        console.result(catalog.find_recipe(name).read_text(encoding="utf-8").rstrip("\n"))
        return
    full = complete_for_display(load_recipe(name, overrides or []))
    if as_json:
        console.result(_with_origins(full) if origin else full.recipe.model_dump(mode="json"))
    elif origin:
        console.result(_origin_lines(full))
    else:
        console.result(dump(full.recipe) + _computed(full.recipe))


@app.command(
    "copy",
    epilog=examples(
        "mimdet recipe copy base_50pct",
        "mimdet recipe copy demo mine.yaml",
    ),
)
def copy(
    name: ShippedArgument,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="New file; default: NAME.yaml."),
    ] = None,
) -> None:
    """Copy a recipe, bases merged in, to a file that you can edit."""
    source = catalog.find_recipe(name)
    target = file or Path(source.name)
    if target.exists():
        raise RecipeError("the file already exists.", where=str(target), fix="give another name.")
    draft = read_recipe(name)
    validate(draft)
    values = dict(draft.values)
    if values["name"] == source.stem:
        del values["name"]  # a recipe is named after its file by default
    header = catalog.header_text(source.read_text(encoding="utf-8"))
    origin = f"# Copied from {catalog.shown(source)} of mimdet {__version__}, bases merged in.\n"
    text = f"{header}{'#' if header else ''}\n{origin}{to_yaml(values)}"
    write_text(target, text.lstrip("\n"))
    Console().result(str(target))


@app.command(
    "check",
    epilog=examples(
        "mimdet recipe check mine.yaml",
        "mimdet recipe check base_50pct --set backbone.train_ratio=0.4",
    ),
)
def check(recipe: RecipeArgument, overrides: SetOption = None) -> None:
    """Check a recipe and report every problem."""
    draft = read_recipe(recipe, overrides or [])
    errors = [e for e in (_schema_error(draft), _backbone_error(draft)) if e]
    if errors:
        raise MimdetError.joined(errors)
    Console().result(f"{recipe}: valid")


@app.command(
    "schema",
    epilog=examples(
        "mimdet recipe schema > recipe.schema.json",
        "mimdet recipe schema --backbone mimdet",
        "mimdet recipe schema --all > recipe.schema.json",
    ),
)
def schema(
    backbone: Annotated[
        str | None, typer.Option(metavar="NAME", help="Add the options of this backbone.")
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Add the options of every backbone in `mimdet backbones ls`."),
    ] = False,
) -> None:
    """Print the JSON schema of recipes, for editors and scripts."""
    if every and backbone is not None:
        raise RecipeError("--all and --backbone cannot be combined.", fix="give one of them.")
    document = Recipe.model_json_schema()
    if backbone is not None:
        add_to_recipe_schema(document, {backbone: backbone_options.schema(backbone)})
    if every:
        add_to_recipe_schema(document, _installed_options())
    Console().result(document)


def _installed_options() -> dict[str, dict[str, Any]]:
    """Option schemas of every backbone that loads, by the name that recipes use."""
    schemas = {}
    for registration in plugins.registrations():
        if not registration.allowed:
            continue
        answer = backbone_options.ask(registration.full, Question(whole=False), TIMEOUT_S)
        if answer.schema is None:
            Console().warn(f"{registration.full} is skipped: {answer.problem}")
        else:
            schemas[plugins.recipe_name(registration)] = answer.schema
    return schemas


def _schema_error(draft: Draft) -> MimdetError | None:
    try:
        validate(draft)
    except MimdetError as error:
        return error
    return None


def _backbone_error(draft: Draft) -> MimdetError | None:
    """Errors in the backbone's options, even if the rest of the recipe is invalid."""
    section = draft.values.get("backbone", {})
    if not isinstance(section, Mapping):
        return None  # `_schema_error` reports it
    options: dict[str, Any] = dict(section)
    name = options.pop("name", BackboneSection().name)
    if not isinstance(name, str):
        return None
    try:
        backbone_options.check(name, options, draft.origins, whole=True)
    except MimdetError as error:
        return error
    return None


def _with_origins(resolved: ResolvedRecipe) -> dict[str, dict[str, Any]]:
    return {
        key: {"value": value, "origin": str(resolved.origin(key))}
        for key, value in resolved.flat().items()
    }


def _origin_lines(resolved: ResolvedRecipe) -> list[str]:
    rows = [
        (f"{key} = {_plain(value)}", resolved.origin(key)) for key, value in resolved.flat().items()
    ]
    return align(rows)


def _computed(recipe: CompletedRecipe) -> str:
    """Derived values, as a YAML comment."""
    train, optimizer = recipe.train, recipe.optimizer
    lines = [
        f"learning rate {scaled_lr(recipe):.3g}: {optimizer.lr:.3g} at batch {optimizer.base_batch}"
        f", scaled to batch {train.batch} ({optimizer.scale})"
    ]
    if train.steps or train.epoch_images:
        steps = total_steps(recipe, train.epoch_images or 0)
        lines.append(f"{steps:,} steps, {steps * train.batch:,} images")
    else:
        lines.append("steps follow from the number of training images")
    return "# computed\n" + "\n".join(f"#   {line}" for line in lines)


def _plain(value: object) -> str:
    """A value as written in a recipe."""
    return to_yaml({"v": value}).removeprefix("v:").strip()
