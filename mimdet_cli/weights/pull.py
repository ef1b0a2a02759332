"""Fetch weights from the Hub, and check them against what the first pull recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import sha256
from mimdet_cli.progress import Progress
from mimdet_cli.weights import catalog, hub, lock
from mimdet_cli.weights.catalog import MAIN, CatalogEntry, entries, weights_folder
from mimdet_cli.weights.fetch_errors import HubFile, writing
from mimdet_cli.weights.hub import Fetched
from mimdet_cli.weights.import_file import (
    SAFETENSORS,
    Upstream,
    refuse_format,
    refuse_unreadable,
    refuse_unsafe,
    store,
)
from mimdet_cli.weights.locate import known, on_disk
from mimdet_cli.weights.lock import Locked
from mimdet_cli.weights.result import WeightsResult

MODEL = "model.safetensors"


@dataclass(frozen=True, slots=True)
class PullOptions:
    """Options of one name; `relock` replaces what was recorded of it."""

    file: str | None = None
    revision: str | None = None
    format: str | None = None
    name: str | None = None
    relock: bool = False


@dataclass(frozen=True, slots=True)
class WeightsRequest:
    """Weights to pull; `arguments` name them on the command line."""

    name: str
    entry: CatalogEntry
    arguments: str
    catalogued: bool
    relock: bool = False

    @property
    def command(self) -> str:
        """The command that makes this request."""
        return self.relock_command if self.relock else f"mimdet pull {self.arguments}"

    @property
    def relock_command(self) -> str:
        """The command that replaces what is recorded."""
        return f"mimdet weights relock {self.arguments}"


def pull(
    names: Sequence[str], options: PullOptions, *, dry_run: bool, progress: Progress
) -> list[WeightsResult]:
    """Pull every name, even after one fails; all errors are raised at the end."""
    done: list[WeightsResult] = []
    errors: list[WeightsError] = []
    for name in dict.fromkeys(names):
        try:
            done.append(_pull_one(parse_request(name, options), options, dry_run, progress))
        except WeightsError as error:
            errors.append(error)
    if errors:
        for result in done:
            progress.say(result.line())
        raise WeightsError.joined(errors)
    return done


def parse_request(name: str, options: PullOptions) -> WeightsRequest:
    """What `name` refers to: known weights, or OWNER/REPOSITORY on the Hub."""
    names = known()
    if name in names:
        refuse_format(name, options.format)
        return WeightsRequest(name, names[name], name, name in entries(), options.relock)
    owner, _, repository = name.partition("/")
    if owner and repository and "/" not in repository:
        return _request_of_the_hub(name, options.name or repository, options)
    near = get_close_matches(name, names, 1)
    raise WeightsError(
        f"'{name}' is neither a known name nor OWNER/REPOSITORY on the Hub.",
        fix=f"did you mean `mimdet pull {near[0]}`?"
        if near
        else "`mimdet weights ls` lists the names.",
    )


def _request_of_the_hub(repo: str, name: str, options: PullOptions) -> WeightsRequest:
    if options.format is None:
        same = [key for key, entry in entries().items() if entry.repo == repo]
        raise WeightsError(
            f"the key layout of '{repo}' is not given; it is never guessed.",
            where="--format",
            fix=(f"it is in the catalogue: `mimdet pull {same[0]}`; or " if same else "")
            + f"`mimdet pull {repo} --format timm` for timm's feature models, `timm_vit` for its "
            "plain ViTs.",
        )
    file = options.file or MODEL
    if not file.endswith(SAFETENSORS):
        raise WeightsError(
            f"'{file}' is not a safetensors file; repositories outside the catalogue must have "
            "one.",
            where="--file",
            fix="download it, then "
            f"`mimdet weights import FILE --as {name} --format {options.format}`.",
        )
    refuse_unsafe(name)
    if name in entries():
        raise WeightsError(
            f"'{name}' is a name of the catalogue.", where="--as", fix="choose another: --as NAME."
        )
    entry = CatalogEntry(f"{repo} of the Hub", options.format, "not known", repo=repo, file=file)
    arguments = f"{repo} --format {options.format}"
    arguments += f" --as {options.name}" if options.name else ""
    request = WeightsRequest(name, entry, arguments, catalogued=False, relock=options.relock)
    before = lock.read(weights_folder()).get(name)
    if before is not None and before.repo != repo and not options.relock:
        raise WeightsError(
            f"'{name}' is already the name of {before.repo or before.file}.",
            where=str(weights_folder() / lock.NAME),
            fix=f"choose another with --as NAME, or replace it: `{request.relock_command}`.",
        )
    return request


def _pull_one(
    request: WeightsRequest, options: PullOptions, dry_run: bool, progress: Progress
) -> WeightsResult:
    name, entry = request.name, request.entry
    recorded = lock.read(weights_folder()).get(name)
    before = None if options.relock else recorded
    if before is not None and not options.file and not options.revision and _is_here(before):
        return WeightsResult.recorded(name, entry, before, here=True)
    wanted = _wanted(request, options, before)
    if dry_run:
        found = hub.offer(wanted)
        where = (wanted.repo, wanted.file, found.commit)
        hashed = before.upstream_sha256 if before else entry.sha256
        return WeightsResult(name, entry, *where, hashed, found.bytes, None, found.cached)
    fetched = _fetch_recorded(wanted, request, before, progress)
    with writing(weights_folder(), name, f"MIMDET_WEIGHTS=DIR {request.command}"):
        record = _record(wanted, request, before, fetched)
        now = lock.write(weights_folder(), name, record, over=recorded)
    lock.refuse_other(
        name, now.upstream_sha256, record.upstream_sha256, fetched.path, request.relock_command
    )
    lock.announce(name, entry, recorded, now, progress)
    return WeightsResult.recorded(name, entry, now, here=not fetched.fresh)


def _is_here(record: Locked) -> bool:
    """Whether the recorded file is on this machine, by its hash."""
    path = on_disk(record)
    return path is not None and sha256(path) == record.sha256


def _wanted(request: WeightsRequest, options: PullOptions, before: Locked | None) -> HubFile:
    """The file to fetch: as chosen, else as recorded, else as in the catalogue."""
    entry = request.entry
    if entry.repo is None:
        raise WeightsError(
            f"'{request.name}' ({entry.about}) is not on the Hub.",
            where=entry.where or "",
            fix=f"download it there, then `mimdet weights import FILE --as {request.name}`.",
        )
    # an import under the name of a repository records no commit
    before = before if before and before.repo else None
    file = options.file or (before.file if before else entry.file) or MODEL
    pinned = (before.commit if before else entry.revision) or entry.ref
    return HubFile(request.name, entry.repo, file, options.revision or pinned, request.command)


def _fetch_recorded(
    wanted: HubFile, request: WeightsRequest, before: Locked | None, progress: Progress
) -> Fetched:
    """The file with the hash of the catalogue or the record; a wrong one is not kept."""
    recorded = request.entry.sha256 or (before.upstream_sha256 if before else None)
    fetched = hub.fetch(wanted, progress)
    if recorded in (None, fetched.sha256):
        return fetched
    if not fetched.fresh and not hub.offline():
        progress.warn(f"{wanted.name}: the cached file is not the recorded one; fetching it again")
        fetched = hub.refetch(wanted, progress)
    if fetched.fresh and fetched.sha256 != recorded:
        hub.discard(fetched.path)
    catalog.refuse_other(
        wanted.name,
        request.entry,
        fetched.sha256,
        fetched.path,
        _under_another_name(wanted, request),
    )
    lock.refuse_other(
        wanted.name, str(recorded), fetched.sha256, fetched.path, request.relock_command
    )
    return fetched


def _under_another_name(wanted: HubFile, request: WeightsRequest) -> str:
    """The command that takes a file of the catalogue's repository under a name of the user's."""
    name = f"--as {wanted.name}-other --format {request.entry.format}"
    if not wanted.file.endswith(SAFETENSORS):
        return f"mimdet weights import FILE {name}"
    file = "" if wanted.file == MODEL else f" --file {wanted.file}"
    revision = "" if wanted.revision == MAIN else f" --revision {wanted.revision}"
    return f"mimdet pull {wanted.repo} {name}{file}{revision}"


def _record(
    wanted: HubFile, request: WeightsRequest, before: Locked | None, fetched: Fetched
) -> Locked:
    if not wanted.file.endswith(SAFETENSORS):
        upstream = Upstream(wanted.file, wanted.repo, fetched.commit)
        return store(fetched.path, wanted.name, request.entry, upstream)
    try:
        refuse_unreadable(fetched.path)
    except WeightsError:
        hub.discard(fetched.path)
        raise
    entry = before.entry if before else None
    if not request.catalogued and entry is None:
        entry = replace(request.entry, licence=hub.licence(wanted))
    status = fetched.path.stat()
    return Locked(
        file=wanted.file,
        sha256=fetched.sha256,
        bytes=status.st_size,
        repo=wanted.repo,
        commit=fetched.commit,
        mtime_ns=status.st_mtime_ns,
        entry=entry,
    )
