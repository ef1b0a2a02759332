"""`mimdet pull`: fetch, import and carry pre-trained weights."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mimdet_cli.commands.options import JsonOption, examples
from mimdet_cli.console import Console
from mimdet_cli.errors import RecipeError

EPILOG = examples(
    "mimdet pull --list",
    "mimdet pull mae-base deit-base",
    "mimdet pull --import mae_pretrain_vit_base_full.pth --as mae-base-full",
    "mimdet pull timm/convnext_small.fb_in1k --format timm --as convnext-small",
    "mimdet pull mae-base --to usb; mimdet pull --from usb   (without network)",
)


def complete_weights(incomplete: str) -> list[str]:
    """Catalogued names that begin with what is typed."""
    from mimdet_cli.weights.catalog import entries

    return [name for name in entries() if name.startswith(incomplete)]


def pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Names of known weights, or OWNER/REPOSITORY on the Hub.",
            autocompletion=complete_weights,
        ),
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="Show the known weights: size, licence, source, cached.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be fetched, and fetch nothing.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="DIR", help="Also copy them there, for another machine."),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Take them from a folder that --to filled."),
    ] = None,
    imported: Annotated[
        Path | None,
        typer.Option("--import", metavar="FILE", help="Take a .pth or .safetensors file as --as."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Name of an import, or of OWNER/REPOSITORY."),
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option("--format", metavar="F", help="Key layout of a file that no name brings."),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="Another file of the repository."),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option("--revision", metavar="REV", help="Another branch, tag or commit."),
    ] = None,
    relock: Annotated[
        bool, typer.Option("--relock", help="Forget what was recorded, and record what comes now.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch pre-trained weights from the Hugging Face Hub, or import a file.

    Commit and hash are recorded the first time and checked ever after.
    """
    modes = {
        "--list": listed,
        "--import": imported is not None,
        "--from": source is not None,
        "--to": to is not None,
        "--dry-run": dry_run,
    }
    of_one = {"--as": name, "--format": layout, "--file": file, "--revision": revision}
    _refuse_combinations(names or [], modes, of_one, relock)

    from mimdet_cli.weights.asking import Choice
    from mimdet_cli.weights.carry import carry_in, carry_out
    from mimdet_cli.weights.listing import HEADER, disputes, listing, rows
    from mimdet_cli.weights.pull import import_file
    from mimdet_cli.weights.pull import pull as pull_all

    console = Console()
    if listed:
        records = listing()
        if as_json:
            console.result(json.dumps(records, indent=2, ensure_ascii=False))
        else:
            console.table(HEADER, rows(records))
            for line in disputes(records):
                console.say(line)
        return
    choice = Choice(file, revision, layout, name, relock)
    if imported is not None:
        done = [import_file(imported.expanduser(), str(name), choice, console)]
    elif source is not None:
        done = carry_in(names or [], source.expanduser(), relock, console)
    else:
        done = pull_all(names or [], choice, dry_run=dry_run, progress=console)
    if to is not None:
        carry_out([one.name for one in done], to.expanduser())
        console.say(f"copied to {to}; on the other machine `mimdet pull --from DIR`")
    if as_json:
        console.result(json.dumps([one.to_json() for one in done], indent=2, ensure_ascii=False))
    else:
        console.result([one.line() for one in done])


def _refuse_combinations(
    names: list[str], modes: dict[str, bool], of_one: dict[str, str | None], relock: bool
) -> None:
    """Options that would be ignored are errors."""
    chosen = [key for key, on in modes.items() if on]
    given = [key for key, value in of_one.items() if value is not None]
    importing = modes["--import"]
    wrong = None
    if len(chosen) > 1:
        wrong = f"{chosen[0]} and {chosen[1]} exclude each other."
    elif not names and not (modes["--list"] or importing or modes["--from"]):
        wrong = "nothing is named."
    elif names and (modes["--list"] or importing):
        wrong = f"{chosen[0]} takes no NAME."
    elif importing and ("--as" not in given or {"--file", "--revision"} & set(given)):
        wrong = "--import goes with --as NAME, and without --file and --revision."
    elif given and not importing and (len(names) != 1 or modes["--from"]):
        wrong = f"{given[0]} goes with one NAME of the Hub, or with --import."
    elif relock and modes["--list"]:
        wrong = "--relock does not go with --list."
    elif "--as" in given and names and "/" not in names[0]:
        wrong = "--as goes with OWNER/REPOSITORY or --import."
    if wrong:
        raise RecipeError(wrong, fix="see `mimdet pull --help`; --list shows the names.")
