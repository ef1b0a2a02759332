"""Files of the Hugging Face Hub, through `huggingface_hub` and its shared cache.

The client provides what a download needs: HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE,
timeouts, retries of 429 and 5xx, resuming within one call, a lock per file, and names that appear
only when a file is whole. What it lacks, checking the hash, is done here.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, NoReturn

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import git_sha1, sha256
from mimdet_cli.progress import Counter, Progress
from mimdet_cli.weights.fetch_errors import HubFile, explained
from mimdet_cli.weights.hub_answers import checked_answers

MEGA = 1e6


@dataclass(frozen=True, slots=True)
class Offer:
    """What the Hub, or offline the cache, has of a file."""

    commit: str
    bytes: int
    cached: bool


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file in the cache and its hash."""

    path: Path
    commit: str
    sha256: str
    fresh: bool


def offer(wanted: HubFile) -> Offer:
    """Commit and size of the file, without fetching it."""
    from huggingface_hub import hf_hub_download

    with explained(wanted), checked_answers(wanted):
        found = hf_hub_download(wanted.repo, wanted.file, revision=wanted.revision, dry_run=True)
        return Offer(found.commit_hash, found.file_size or 0, found.is_cached)


def fetch(wanted: HubFile, progress: Progress) -> Fetched:
    """The file, from the cache or the Hub, checked against the hash that the Hub states."""
    with _logged_to(progress):
        found = offer(wanted)
        path = _download(wanted, found, progress, force=False)
        fetched = _hashed(path, found)
        if fetched is None and found.cached and not offline():
            progress.warn(f"{wanted.name}: the cached file is damaged; fetching it again")
            return refetch(wanted, progress)
    return fetched or _refuse(wanted, path)


def refetch(wanted: HubFile, progress: Progress) -> Fetched:
    """The file from the Hub, replacing the one in the cache."""
    with _logged_to(progress):
        found = replace(offer(wanted), cached=False)
        path = _download(wanted, found, progress, force=True)
    return _hashed(path, found) or _refuse(wanted, path)


def licence(wanted: HubFile) -> str:
    """The licence that the repository's card states."""
    from huggingface_hub import HfApi

    if offline():
        return "not known"
    try:
        with explained(wanted):
            card = HfApi().model_info(wanted.repo, revision=wanted.revision, timeout=10).card_data
    except WeightsError:  # the weights are here; a mirror may have no cards
        return "not known"
    tag = card.get("license") if card else None
    return f"Hub says {tag}" if tag else "not stated on the Hub"


def cached(repo: str, file: str, commit: str) -> Path | None:
    """The file in the shared cache, if it is there."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repo, file, revision=commit)
    return Path(path) if isinstance(path, str) else None


def offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the network."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def discard(path: Path) -> None:
    """Remove a wrong file from the shared cache."""
    with suppress(OSError):  # a read-only cache; no record will accept the file
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def _download(wanted: HubFile, found: Offer, progress: Progress, *, force: bool) -> Path:
    from huggingface_hub import hf_hub_download

    with explained(wanted), checked_answers(wanted):
        if found.cached and not force:
            return Path(hf_hub_download(wanted.repo, wanted.file, revision=found.commit))
        megabytes = max(1, ceil(found.bytes / MEGA))
        with progress.items(megabytes, f"{wanted.name} (MB)") as done:
            path = hf_hub_download(
                wanted.repo,
                wanted.file,
                revision=found.commit,
                force_download=force,
                tqdm_class=_bar(done),
            )
        return Path(path)


def _stated(path: Path) -> str | None:
    """The hash that the Hub states: files are named after it in a cache with links."""
    return path.readlink().name if path.is_symlink() else None


def _hashed(path: Path, found: Offer) -> Fetched | None:
    """The file with its SHA-256; None if it does not have the hash that the Hub states."""
    digest, stated = sha256(path), _stated(path)
    if stated is not None and stated not in (digest, git_sha1(path)):
        return None
    return Fetched(path, found.commit, digest, fresh=not found.cached)


def _refuse(wanted: HubFile, path: Path) -> NoReturn:
    stated, digest = _stated(path), sha256(path)
    discard(path)
    raise WeightsError(
        f"'{wanted.name}' arrived damaged: its sha256 is {digest}, the Hub states {stated}.",
        where=f"{path}, removed",
        fix=f"run `{wanted.command}` again; if it happens twice, check HF_ENDPOINT and the proxy.",
    )


def _bar(counter: Counter) -> Any:
    """A progress bar in the form that `huggingface_hub` fills: bytes in, megabytes shown."""
    from huggingface_hub.utils.tqdm import tqdm

    class ByteCounter(tqdm):
        """Shows nothing itself."""

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            settings["disable"] = True
            super().__init__(*arguments, **settings)  # type: ignore[no-untyped-call]
            self._shown = 0
            if self.n:
                self.update(0)

        def update(self, n: float | None = 1) -> None:
            """Count `n` more bytes; after a restart the client takes some back."""
            self.n += n or 0
            megabytes = ceil(self.n / MEGA)
            if megabytes > self._shown:
                counter.advance(megabytes - self._shown)
                self._shown = megabytes

        def update_transfer(self, n: float | None = 1) -> None:
            """Bytes on the wire; only those of the file are shown."""

        def set_transfer_postfix_str(self, text: str = "", refresh: bool = True) -> None:
            """The speed on the wire is not shown."""

    return ByteCounter


class _LogLines(logging.Handler):
    """The client's own warnings (retries, resumed downloads) as lines of our log."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(logging.WARNING)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        text = re.sub(r"https?://([^/\s]+)/\S*\w", r"\1", record.getMessage())  # signed, and long
        self._progress.say(f"  hub: {' '.join(text.split())}")


@contextmanager
def _logged_to(progress: Progress) -> Iterator[None]:
    """While the client works, its log goes to `progress` instead of stderr."""
    from huggingface_hub import hf_hub_download  # noqa: F401  (sets up its logger)

    logger = logging.getLogger("huggingface_hub")
    before = logger.handlers
    logger.handlers = [_LogLines(progress)]
    try:
        yield
    finally:
        logger.handlers = before
