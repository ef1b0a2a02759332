"""`mimdet pull`: fetch pre-trained weights from the Hugging Face Hub, or from a folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from shlex import join
from typing import Annotated, Any

import typer

from mimdet_cli.commands.options import (
    AsOption,
    DryRunOption,
    FileOption,
    FormatOption,
    FromOption,
    JsonOption,
    NamesArgument,
    RevisionOption,
    examples,
)
from mimdet_cli.console import Console
from mimdet_cli.errors import RecipeError

EPILOG = examples(
    "mimdet pull mae-base deit-base",
    "mimdet pull timm/convnext_small.fb_in1k --format timm --as convnext-small",
    "mimdet pull --from usb   (without network)",
)


def pull(
    names: NamesArgument = None,
    dry_run: DryRunOption = False,
    source: FromOption = None,
    name: AsOption = None,
    layout: FormatOption = None,
    file: FileOption = None,
    revision: RevisionOption = None,
    as_json: JsonOption = False,
    listed: Annotated[
        bool, typer.Option("--list", hidden=True, help="Replaced by `mimdet weights ls`.")
    ] = False,
    imported: Annotated[
        Path | None,
        typer.Option("--import", hidden=True, help="Replaced by `mimdet weights import`."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", hidden=True, help="Replaced by `mimdet weights export`.")
    ] = None,
    relock: Annotated[
        bool, typer.Option("--relock", hidden=True, help="Replaced by `mimdet weights relock`.")
    ] = False,
) -> None:
    """Fetch pre-trained weights from the Hugging Face Hub.

    The first pull records commit and SHA-256; later pulls must match.
    """
    wanted = names or []
    name_options = {"--as": name, "--format": layout, "--file": file, "--revision": revision}
    replaced = {"--list": listed, "--import": imported, "--to": to, "--relock": relock}
    if any(replaced.values()):
        raise _replaced(wanted, {**name_options, "--from": source}, replaced, dry_run, as_json)
    refuse_combinations(wanted, name_options, source=source, dry_run=dry_run, verb="pull")

    from mimdet_cli.weights.offline import take_from
    from mimdet_cli.weights.pull import PullOptions
    from mimdet_cli.weights.pull import pull as pull_all

    console = Console()
    if source is not None:
        done = take_from(source.expanduser(), wanted, console, relock=False)
    else:
        options = PullOptions(file, revision, layout, name)
        done = pull_all(wanted, options, dry_run=dry_run, progress=console)
    show([result.to_json() for result in done], [result.line() for result in done], as_json)


def show(records: list[dict[str, Any]], lines: list[str], as_json: bool) -> None:
    """Print results as JSON, or a line each."""
    text = json.dumps(records, indent=2, ensure_ascii=False) if as_json else lines
    Console().result(text)


def refuse_combinations(
    names: Sequence[str],
    name_options: dict[str, str | None],
    *,
    source: Path | None,
    dry_run: bool,
    verb: str,
) -> None:
    """Refuse options that would be ignored; `name_options` apply to one name on the Hub."""
    given = [option for option, value in name_options.items() if value is not None]
    wrong = None
    if not names and source is None:
        wrong = "give at least one NAME."
    elif source is not None and dry_run:
        wrong = "--from and --dry-run cannot be combined."
    elif source is not None and given:
        wrong = f"--from and {given[0]} cannot be combined."
    elif given and len(names) != 1:
        wrong = f"{given[0]} requires exactly one NAME."
    elif "--as" in given and "/" not in names[0]:
        wrong = "--as requires OWNER/REPOSITORY."
    if wrong:
        fix = f"see `mimdet {verb} --help`; `mimdet weights ls` lists the names."
        raise RecipeError(wrong, fix=fix)


def _replaced(
    names: Sequence[str],
    values: dict[str, str | Path | None],
    old: dict[str, bool | Path | None],
    dry_run: bool,
    as_json: bool,
) -> RecipeError:
    """The error that gives the whole command line for an old option."""
    option = next(option for option, value in old.items() if value)
    commands = [_equivalent(names, values, old)]
    if dry_run and not old["--list"] and not old["--import"]:
        commands[0].append("--dry-run")
    if old["--to"]:
        stored = [values["--as"] or name.rpartition("/")[2] for name in names] or ["NAME"]
        commands.append(["weights", "export", *map(str, stored), "--to", str(old["--to"])])
    json_option = ["--json"] if as_json else []
    replacements = ", then ".join(
        f"`{join(['mimdet', *words, *json_option])}`" for words in commands
    )
    return RecipeError(f"{option} is not an option of `mimdet pull`.", fix=f"run {replacements}.")


def _equivalent(
    names: Sequence[str], values: dict[str, str | Path | None], old: dict[str, bool | Path | None]
) -> list[str]:
    if old["--list"]:
        return ["weights", "ls"]
    kept = {option: str(value) for option, value in values.items() if value is not None}
    if old["--import"]:
        name = kept.pop("--as", "NAME")
        words = [name, "--import", str(old["--import"])]
        if not old["--relock"]:
            words = [str(old["--import"]), "--as", name]
        kept = {option: value for option, value in kept.items() if option == "--format"}
        command = ["weights", "relock" if old["--relock"] else "import", *words]
    else:
        command = ["weights", "relock"] if old["--relock"] else ["pull"]
        command += names
    return [*command, *(word for pair in kept.items() for word in pair)]
