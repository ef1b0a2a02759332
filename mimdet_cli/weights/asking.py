"""What a user asks `mimdet pull` for: a known name, a repository, or a name for a file."""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from shlex import quote

from mimdet_cli.errors import WeightsError
from mimdet_cli.weights import lock
from mimdet_cli.weights.catalog import Entry, entries, folder
from mimdet_cli.weights.locate import known

MODEL = "model.safetensors"
SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, ".pth", ".pt", ".bin")


@dataclass(frozen=True, slots=True)
class Choice:
    """Options that say more of one file; `relock` records it anew."""

    file: str | None = None
    revision: str | None = None
    format: str | None = None
    name: str | None = None
    relock: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """Weights that are asked for, and the command that asks for them; `own` if not catalogued."""

    name: str
    entry: Entry
    command: str
    own: bool


def asked(name: str, choice: Choice) -> Asked:
    """What `name` means: known weights, or OWNER/REPOSITORY on the Hub."""
    names = known()
    if name in names:
        _refuse_format(name, choice)
        return Asked(name, names[name], f"mimdet pull {name}", name not in entries())
    owner, _, repository = name.partition("/")
    if owner and repository and "/" not in repository:
        return _asked_of_the_hub(name, choice.name or repository, choice)
    near = get_close_matches(name, names, 1)
    raise WeightsError(
        f"'{name}' is neither a known name nor OWNER/REPOSITORY on the Hub.",
        fix=f"did you mean `mimdet pull {near[0]}`?"
        if near
        else "`mimdet pull --list` shows the names.",
    )


def entry_of_import(path: Path, name: str, choice: Choice) -> Entry:
    """The entry under which a file is imported: a known one, or a new one with its format."""
    if name in entries():
        _refuse_format(name, choice)
        return entries()[name]
    _refuse_unsafe(name)
    if choice.format is not None:
        return Entry(f"imported from {path.name}", choice.format, "not known")
    if name in known():
        return known()[name]
    near = get_close_matches(name, known(), 1)
    meant = f"did you mean '{near[0]}'? Else " if near else ""
    raise WeightsError(
        f"'{name}' is no known name, and the key layout of a file is never guessed.",
        where="--as",
        fix=f"{meant}add the layout, `mimdet pull --import {quote(str(path))} --as {name} "
        "--format mae` for example.",
    )


def _asked_of_the_hub(repo: str, name: str, choice: Choice) -> Asked:
    if choice.format is None:
        same = [key for key, one in entries().items() if one.repo == repo]
        raise WeightsError(
            f"the key layout of '{repo}' is not named; it is never guessed.",
            where="--format",
            fix=(f"it is in the catalogue: `mimdet pull {same[0]}`; or " if same else "")
            + f"`mimdet pull {repo} --format timm` for timm's feature models, `timm_vit` for its "
            "plain ViTs.",
        )
    file = choice.file or MODEL
    if not file.endswith(SAFETENSORS):
        raise WeightsError(
            f"'{file}' is no safetensors file; others come from catalogued repositories alone.",
            where="--file",
            fix=f"fetch it, then `mimdet pull --import FILE --as {name} --format {choice.format}`.",
        )
    _refuse_unsafe(name)
    if name in entries():
        raise WeightsError(
            f"'{name}' is a name of the catalogue.", where="--as", fix="choose another: --as NAME."
        )
    command = f"mimdet pull {repo} --format {choice.format}"
    command += f" --as {choice.name}" if choice.name else ""
    before = lock.read(folder()).get(name)
    if before is not None and before.repo != repo and not choice.relock:
        raise WeightsError(
            f"'{name}' is already the name of {before.repo or before.file}.",
            where=str(folder() / lock.NAME),
            fix=f"choose another with --as NAME, or replace it: `{command} --relock`.",
        )
    entry = Entry(f"{repo} of the Hub", choice.format, "not known", repo=repo, file=file)
    return Asked(name, entry, command, own=True)


def _refuse_format(name: str, choice: Choice) -> None:
    if choice.format is not None:
        raise WeightsError(
            f"'{name}' has its key layout already ({known()[name].format}).",
            where="--format",
            fix="leave --format out; one recipe may read it otherwise: `--set init.format=...`.",
        )


def _refuse_unsafe(name: str) -> None:
    """A name becomes a file name, and `init.weights` must tell it from a path."""
    if not name or name[0] in ".-" or set(name) & set("/\\ ") or Path(name).suffix in SUFFIXES:
        raise WeightsError(
            f"'{name}' cannot be the name of weights.",
            where="--as",
            fix="use letters, digits, dots, dashes and underscores, without an ending like .pth.",
        )
