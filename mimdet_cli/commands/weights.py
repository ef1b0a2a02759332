"""`mimdet weights`: list, import, export and re-lock pre-trained weights."""

from pathlib import Path
from typing import Annotated

import typer

from mimdet_cli.commands.options import (
    MARKUP,
    AsOption,
    DryRunOption,
    FileOption,
    FormatOption,
    FromOption,
    JsonOption,
    NamesArgument,
    RevisionOption,
    complete_weights,
    examples,
)
from mimdet_cli.commands.pull import refuse_combinations, show
from mimdet_cli.console import Console
from mimdet_cli.errors import RecipeError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
    epilog=examples(
        "mimdet weights ls",
        "mimdet weights import mae_pretrain_vit_base_full.pth --as mae-base-full",
        "mimdet weights export mae-base --to usb",
        "mimdet weights relock mae-base",
    ),
)


@app.callback()
def weights() -> None:
    """List, import, export and re-lock pre-trained weights."""


@app.command("ls", epilog=examples("mimdet weights ls", "mimdet weights ls --json"))
def ls(as_json: JsonOption = False) -> None:
    """List the known weights.

    Shows contents, size, licence, source (`import`: your own file), and whether they are cached.
    """
    from mimdet_cli.weights.result import HEADER, disputes, listing, rows

    records = listing()
    if as_json:
        show(records, [], as_json)
        return
    console = Console()
    console.table(HEADER, rows(records))
    for line in disputes(records):
        console.say(line)


@app.command(
    "import",
    epilog=examples(
        "mimdet weights import mae_pretrain_vit_base_full.pth --as mae-base-full",
        "mimdet weights import mine.safetensors --as mine --format mae",
    ),
)
def import_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Your .pth or .safetensors file.")],
    name: Annotated[
        str,
        typer.Option(
            "--as",
            metavar="NAME",
            help="A catalogued name, or a new one.",
            autocompletion=complete_weights,
        ),
    ],
    layout: FormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a weights file under a name; it is stored as safetensors.

    The first import records the SHA-256; later ones must match.
    """
    from mimdet_cli.weights.import_file import import_file

    done = import_file(file.expanduser(), name, layout, Console())
    show([done.to_json()], [done.line()], as_json)


@app.command(
    "export",
    epilog=examples(
        "mimdet weights export mae-base deit-base --to usb",
        "mimdet pull --from usb   (on the machine without network)",
    ),
)
def export(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Names of weights on this machine.",
            autocompletion=complete_weights,
        ),
    ],
    to: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Folder to write to; created if needed.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Copy weights to a folder, for a machine without network."""
    from mimdet_cli.weights.offline import copy_to

    console = Console()
    done = copy_to(names, to.expanduser())
    console.say(f"on the other machine run `mimdet pull --from DIR`, where DIR is a copy of {to}")
    show([result.to_json() for result in done], [result.copied_line() for result in done], as_json)


@app.command(
    "relock",
    epilog=examples(
        "mimdet weights relock mae-base",
        "mimdet weights relock mae-large --revision main",
        "mimdet weights relock mine --import mine-v2.pth",
    ),
)
def relock(
    names: NamesArgument = None,
    imported: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Record your own file under one NAME."),
    ] = None,
    source: FromOption = None,
    name: AsOption = None,
    layout: FormatOption = None,
    file: FileOption = None,
    revision: RevisionOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch weights again and replace their record.

    Use it only if you know why they have changed.
    """
    wanted = names or []
    name_options = {"--as": name, "--format": layout, "--file": file, "--revision": revision}
    if imported is not None:
        others = {"--from": source, "--as": name, "--file": file, "--revision": revision}
        _refuse_with_import(wanted, {**others, "--dry-run": dry_run or None})
    else:
        refuse_combinations(
            wanted, name_options, source=source, dry_run=dry_run, verb="weights relock"
        )

    from mimdet_cli.weights.import_file import import_file
    from mimdet_cli.weights.offline import take_from
    from mimdet_cli.weights.pull import PullOptions, pull

    console = Console()
    if imported is not None:
        done = [import_file(imported.expanduser(), wanted[0], layout, console, relock=True)]
    elif source is not None:
        done = take_from(source.expanduser(), wanted, console, relock=True)
    else:
        options = PullOptions(file, revision, layout, name, relock=True)
        done = pull(wanted, options, dry_run=dry_run, progress=console)
    show([result.to_json() for result in done], [result.line() for result in done], as_json)


def _refuse_with_import(names: list[str], others: dict[str, object]) -> None:
    given = [option for option, value in others.items() if value is not None]
    if given:
        wrong = f"--import and {given[0]} cannot be combined."
    elif len(names) != 1:
        wrong = "--import requires exactly one NAME."
    else:
        return
    raise RecipeError(wrong, fix="see `mimdet weights relock --help`.")
