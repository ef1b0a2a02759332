"""Where a recipe's weights lie on this machine, and whether they go with it and each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mimdet_cli.errors import WeightsError
from mimdet_cli.recipe.schema import Data, Init
from mimdet_cli.weights import hub, lock
from mimdet_cli.weights.catalog import MAE_FAMILIES, Entry, entries, folder
from mimdet_cli.weights.lock import Locked

SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True, slots=True)
class Source:
    """A weights file found on this machine, and the key map that reads it.

    A file given by its path has no `entry`; one laid into the weights folder by hand no `locked`.
    """

    path: Path
    format: str
    name: str | None = None
    entry: Entry | None = None
    locked: Locked | None = None

    def provenance(self) -> dict[str, Any]:
        """Where the weights come from and under which licence, for the run folder."""
        entry, locked = self.entry, self.locked
        return {
            "name": self.name,
            "family": entry and entry.family,
            "licence": entry and entry.licence,
            "licence_note": entry and entry.licence_note,
            "repo": locked and locked.repo,
            "commit": locked and locked.commit,
            "source_file": locked and locked.file,
            "sha256": locked and locked.upstream_sha256,
        }


def known() -> dict[str, Entry]:
    """The catalogue, and the names that were pulled or imported beside it."""
    records = lock.read(folder())
    own = {name: one.entry for name, one in records.items() if one.entry is not None}
    return {**own, **entries()}


def locate(init: Init) -> list[Source]:
    """The files that `init` names, none for random weights; all that is missing is one error."""
    wanted = [] if init.weights is None else [("init", init.weights, init.format)]
    wanted += [(f"init.more[{i}]", one.weights, one.format) for i, one in enumerate(init.more)]
    found: list[Source] = []
    missing: list[WeightsError] = []
    for place, name, layout in wanted:
        try:
            found.append(_find(place, name, layout))
        except WeightsError as error:
            missing.append(error)
    if missing:
        raise WeightsError.joined(missing)
    if not init.mix_families:
        _refuse_mixture(found)
    return found


def pixel_warnings(sources: Iterable[Source], data: Data) -> list[str]:
    """What differs between the recipe's pixel normalisation and that of its weights."""
    warnings = []
    for source in sources:
        wrong = [
            f"--set data.{key}=[{','.join(f'{x:g}' for x in theirs)}]"
            for key in ("pixel_mean", "pixel_std")
            if source.entry
            and (theirs := getattr(source.entry, key)) is not None
            and theirs != getattr(data, key)
        ]
        if wrong:
            warnings.append(
                f"'{source.name}' was trained on pixels normalised in another way than the "
                f"recipe's; `{' '.join(wrong)}` makes them equal."
            )
    return warnings


def on_disk(locked: Locked) -> Path | None:
    """Where the file of a record should be; None if the Hub's cache has it no more."""
    if locked.stored is not None:
        path = folder() / locked.stored
        return path if path.is_file() else None
    if locked.repo is None or locked.commit is None:
        return None
    return hub.cached(locked.repo, locked.file, locked.commit)


def _find(place: str, name: str, layout: str | None) -> Source:
    names = known()
    if name in names:
        return _named(place, name, layout, names[name])
    path = Path(name).expanduser()
    if path.suffix not in SUFFIXES:
        raise _unknown(place, name, list(names))
    if not path.is_file():
        raise WeightsError(
            f"the weights file {path} does not exist.",
            where=f"{place}.weights",
            fix="correct the path, or train from random weights with `--set init.weights=null`.",
        )
    if layout is None:
        raise WeightsError(
            f"the key layout of {path} is not named; it is never guessed.",
            where=f"{place}.format",
            fix="add for example `--set init.format=mae` (the MAE authors' layout).",
        )
    return Source(path, layout)


def _named(place: str, name: str, layout: str | None, entry: Entry) -> Source:
    locked = lock.read(folder()).get(name)
    if locked is None:
        for suffix in SUFFIXES:
            path = folder() / f"{name}{suffix}"
            if path.is_file():
                return Source(path, layout or entry.format, name, entry)
        raise missing_weights(place, name, entry)
    recorded = on_disk(locked)
    if recorded is None:
        raise missing_weights(place, name, entry)
    if not lock.intact(folder(), name, locked, recorded):
        again = f"mimdet pull {name}"
        if locked.repo is None:
            again = f"mimdet pull --import FILE --as {name}"
        raise WeightsError(
            f"'{name}' is not the file that was recorded when it came: its bytes have changed.",
            where=f"{recorded}, {recorded.stat().st_size:,} bytes; in {folder() / lock.NAME}: "
            f"{locked.bytes:,} bytes, sha256 {locked.sha256}",
            fix=f"`{again}` puts the recorded file back.",
        )
    return Source(recorded, layout or entry.format, name, entry, locked)


def missing_weights(place: str, name: str, entry: Entry) -> WeightsError:
    """What to say of known weights that are not here: both commands, and the way without them."""
    key = place.removeprefix("init").replace("[", ".").replace("]", "")
    pull = f"`mimdet pull {name}`"
    load = f"`mimdet pull --import FILE --as {entry.instead or name}`"
    if entry.instead:
        load += f" and `--set init{key}.weights={entry.instead}` (the paper's own start)"
    ways = f"{load}, with {entry.where}" if entry.repo is None else f"{pull}, or {load}"
    random = "" if key else "; or train from random weights with `--set init.weights=null`"
    return WeightsError(
        f"'{name}' ({entry.about}) is not on this machine.",
        where=f"{place}.weights; looked in {folder()} and the Hub's cache",
        fix=f"{ways}{random}.",
    )


def _refuse_mixture(sources: Sequence[Source]) -> None:
    mae = [one for one in sources if one.entry and one.entry.family in MAE_FAMILIES]
    families = {one.entry.family for one in mae if one.entry}
    if len(families) < len(MAE_FAMILIES):
        return
    named = ", ".join(f"{one.name} ({one.entry.family})" for one in mae if one.entry)
    raise WeightsError(
        f"encoder and decoder of MAE models with different targets are mixed: {named}; they were "
        "never trained together.",
        where="init",
        fix="take both from one family, or insist with `--set init.mix_families=true`.",
    )


def _unknown(place: str, name: str, names: list[str]) -> WeightsError:
    near = get_close_matches(name, names, 1)
    return WeightsError(
        f"'{name}' is neither a known name nor a {', '.join(SUFFIXES)} file.",
        where=f"{place}.weights",
        fix=f"did you mean '{near[0]}'?" if near else "`mimdet pull --list` shows the names.",
    )
