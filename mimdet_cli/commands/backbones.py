"""`mimdet backbones`: list, write and check backbones, ours and third parties'."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from mimdet_cli import backbone_options, plugins
from mimdet_cli.commands.options import MARKUP, JsonOption, examples
from mimdet_cli.console import Console
from mimdet_cli.isolation import TIMEOUT_S, Question
from mimdet_cli.plugins import Registration

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    epilog=examples(
        "mimdet backbones ls --load",
        "mimdet backbones new my_net",
        "mimdet backbones check my_net",
    ),
)


@app.callback()
def backbones() -> None:
    """List, write and check backbones."""


@dataclass(frozen=True, slots=True)
class Row:
    """One declared backbone. `write` is its `backbone.name` in a recipe.

    `state` is listed, switched off, loads or broken; `reason` and `where` explain broken ones.
    """

    name: str
    write: str
    distribution: str
    version: str
    value: str
    state: str
    reason: str | None = None
    where: str | None = None


@app.command(
    "ls",
    epilog=examples(
        "mimdet backbones ls", "mimdet backbones ls --load", "mimdet backbones ls --json"
    ),
)
def ls(
    load: Annotated[
        bool,
        typer.Option(
            "--load",
            help="Also load each one, third-party ones in a separate process; a broken one is "
            "a row of the list, not an error.",
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(metavar="S", min=1, help="With --load: time limit for each, in seconds."),
    ] = TIMEOUT_S,
    as_json: JsonOption = False,
) -> None:
    """List the installed backbones, without importing them."""
    console = Console()
    found = plugins.registrations()
    rows = [_row(registration, timeout_s=timeout if load else None) for registration in found]
    if as_json:
        console.result(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
    else:
        console.table(
            ("name", "distribution", "version", "class", "state"),
            [(r.write, r.distribution, r.version, r.value, _state(r)) for r in rows],
        )
    for warning in _warnings(found):
        console.warn(warning)


@app.command("new", epilog=examples("mimdet backbones new my_net", "pip install -e mimdet-my-net"))
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of the backbone, such as my_net or my-net.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder to create; default: mimdet-NAME in the current folder."
        ),
    ] = None,
) -> None:
    """Write a new backbone package, ready to install and train."""
    from mimdet_cli.scaffold.package import write_package

    package = write_package(name, out)
    console = Console()
    for file in package.files:
        console.say(f"wrote {file}")
    console.say(f"next: pip install --no-build-isolation -e {package.folder}")
    console.say(f"      mimdet backbones check {package.name}")
    console.result(str(package.folder))


@app.command(
    "check",
    epilog=examples(
        "mimdet backbones check vitdet",
        "mimdet backbones check my_net --set depth=4 --json",
    ),
)
def check(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name of the backbone, as in `mimdet backbones ls`."),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set one of its options; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every promise of a backbone, at its tiny size, on the CPU."""
    from mimdet_cli.conformance.check import check as check_promises

    report = check_promises(name, overrides or [])
    Console().result(report.to_json() if as_json else report.lines())
    error = report.error()
    if error is not None:
        raise error


def _row(registration: Registration, timeout_s: float | None) -> Row:
    """The row of a registration, which is loaded if there is a time limit for it."""
    columns = (
        registration.name,
        plugins.recipe_name(registration),
        registration.distribution,
        registration.version,
        registration.value,
    )
    if not registration.allowed:
        return Row(*columns, "switched off")
    if timeout_s is None:
        return Row(*columns, "listed")
    answer = backbone_options.ask(registration.full, Question(), timeout_s)
    if answer.problem:
        return Row(*columns, "broken", answer.problem, answer.where or None)
    return Row(*columns, "loads")


def _state(row: Row) -> str:
    if row.state != "broken":
        return row.state
    return f"broken: {row.reason}" + (f" ({row.where})" if row.where else "")


def _warnings(found: list[Registration]) -> list[str]:
    """Names that several distributions register, and allowed distributions without backbones."""
    warnings = []
    for name in dict.fromkeys(registration.name for registration in found):
        same = [
            registration
            for registration in found
            if registration.name == name and registration.allowed
        ]
        if len(same) < 2:
            continue
        if same[0].ours:
            warnings += [plugins.shadowed_note(shadowed) for shadowed in same[1:]]
            continue
        providers = " and ".join(registration.provider for registration in same)
        full_names = " or ".join(registration.full for registration in same)
        warnings.append(f"'{name}' is registered by {providers}: write {full_names}.")
    known = {plugins.canonical(registration.distribution) for registration in found}
    strangers = sorted((plugins.chosen_distributions() or frozenset()) - known)
    return warnings + [
        f"{plugins.SWITCH} names '{stranger}', which is not installed or has no backbones."
        for stranger in strangers
    ]
