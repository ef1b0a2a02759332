"""The weights files of a recipe on this machine, and whether they fit it and each other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mimdet_cli.errors import WeightsError
from mimdet_cli.recipe.schema import Data, Init
from mimdet_cli.weights import hub, lock
from mimdet_cli.weights.catalog import MAE_FAMILIES, CatalogEntry, entries, weights_folder
from mimdet_cli.weights.lock import Locked

SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True, slots=True)
class LocatedWeights:
    """A weights file found on this machine, and the key map that reads it.

    A file given by its path has no `entry`; one put into the weights folder by hand no `locked`.
    """

    path: Path
    format: str
    name: str | None = None
    entry: CatalogEntry | None = None
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


def known() -> dict[str, CatalogEntry]:
    """The catalogue, and other names that were pulled or imported."""
    records = lock.read(weights_folder())
    others = {name: record.entry for name, record in records.items() if record.entry is not None}
    return {**others, **entries()}


def locate(init: Init) -> list[LocatedWeights]:
    """The files that `init` names, none for random weights; one error lists all that is missing."""
    wanted = [] if init.weights is None else [("init", init.weights, init.format)]
    wanted += [(f"init.more[{i}]", more.weights, more.format) for i, more in enumerate(init.more)]
    found: list[LocatedWeights] = []
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


def pixel_warnings(sources: Iterable[LocatedWeights], data: Data) -> list[str]:
    """Differences between the pixel normalisation of the recipe and of its weights."""
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
                f"'{source.name}' was trained with a different pixel normalisation than the "
                f"recipe's; "
                f"`{' '.join(wrong)}` makes them equal."
            )
    return warnings


def on_disk(locked: Locked) -> Path | None:
    """The file of a record; None if it was removed."""
    if locked.stored is not None:
        path = weights_folder() / locked.stored
        return path if path.is_file() else None
    if locked.repo is None or locked.commit is None:
        return None
    return hub.cached(locked.repo, locked.file, locked.commit)


def put_by_hand(name: str) -> Path | None:
    """The file that a name without a record has in the weights folder, if any."""
    paths = (weights_folder() / f"{name}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def refuse_changed(name: str, locked: Locked, path: Path) -> None:
    """Refuse a file that is not the recorded one."""
    if lock.intact(weights_folder(), name, locked, path):
        return
    again = f"pull {name}" if locked.repo else f"weights import FILE --as {name}"
    raise WeightsError(
        f"'{name}' has changed since it was recorded.",
        where=f"{path}, {path.stat().st_size:,} bytes; in {weights_folder() / lock.NAME}: "
        f"{locked.bytes:,} bytes, sha256 {locked.sha256}",
        fix=f"`mimdet {again}` restores the recorded file.",
    )


def _find(place: str, name: str, layout: str | None) -> LocatedWeights:
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
            f"the key layout of {path} is not given; it is never guessed.",
            where=f"{place}.format",
            fix="add it, for example `--set init.format=mae` (the MAE authors' layout).",
        )
    return LocatedWeights(path, layout)


def _named(place: str, name: str, layout: str | None, entry: CatalogEntry) -> LocatedWeights:
    locked = lock.read(weights_folder()).get(name)
    if locked is None:
        path = put_by_hand(name)
        if path is None:
            raise missing_weights(place, name, entry)
        return LocatedWeights(path, layout or entry.format, name, entry)
    recorded = on_disk(locked)
    if recorded is None:
        raise missing_weights(place, name, entry)
    refuse_changed(name, locked, recorded)
    return LocatedWeights(recorded, layout or entry.format, name, entry, locked)


def missing_weights(place: str, name: str, entry: CatalogEntry) -> WeightsError:
    """The error for known weights that are not on this machine, with every way to go on."""
    key = place.removeprefix("init").replace("[", ".").replace("]", "")
    pull = f"`mimdet pull {name}`"
    load = f"`mimdet weights import FILE --as {entry.instead or name}`"
    if entry.instead:
        load += f" and `--set init{key}.weights={entry.instead}` (the paper's own start)"
    ways = f"{load}, with {entry.where}" if entry.repo is None else f"{pull}, or {load}"
    random = "" if key else "; or train from random weights with `--set init.weights=null`"
    return WeightsError(
        f"'{name}' ({entry.about}) is not on this machine.",
        where=f"{place}.weights; looked in {weights_folder()} and the Hub's cache",
        fix=f"{ways}{random}.",
    )


def _refuse_mixture(sources: Sequence[LocatedWeights]) -> None:
    families = {source.name: source.entry.family for source in sources if source.entry}
    mae = {name: family for name, family in families.items() if family in MAE_FAMILIES}
    if len(set(mae.values())) < len(MAE_FAMILIES):
        return
    named = ", ".join(f"{name} ({family})" for name, family in mae.items())
    raise WeightsError(
        f"these MAE models have different targets: {named}; their encoders and decoders were never "
        "trained together.",
        where="init",
        fix="use one family, or allow the mixture with `--set init.mix_families=true`.",
    )


def _unknown(place: str, name: str, names: list[str]) -> WeightsError:
    near = get_close_matches(name, names, 1)
    return WeightsError(
        f"'{name}' is neither a known name nor a {', '.join(SUFFIXES)} file.",
        where=f"{place}.weights",
        fix=f"did you mean '{near[0]}'?" if near else "`mimdet weights ls` lists the names.",
    )
