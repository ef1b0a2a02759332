"""Errors of fetching weights, from the Hub, its cache and the weights folder, with the fix.

Tests run the commands that the messages suggest.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mimdet_cli.errors import WeightsError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository at a branch or commit; `command` pulls it as `name`."""

    name: str
    repo: str
    file: str
    revision: str
    command: str


@contextmanager
def explained(wanted: HubFile) -> Iterator[None]:
    """Turn errors of the client that the user can fix into ours; others pass."""
    try:
        yield
    except Exception as error:
        known = _explain(wanted, error)
        if known is None:
            raise
        raise known from error


@contextmanager
def writing(folder: Path, name: str, elsewhere: str) -> Iterator[None]:
    """Explain errors of writing `name`; the command `elsewhere` uses another folder."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        message = error.strerror if isinstance(error, OSError) else None
        reason = " ".join((message or str(error)).split()).rstrip(".")
        raise WeightsError(
            f"'{name}' cannot be written: {reason}.",
            where=str(folder),
            fix=f"free some space and make it writable, or use another folder: `{elsewhere}`.",
        ) from error


def _explain(wanted: HubFile, error: Exception) -> WeightsError | None:
    from huggingface_hub import errors as hub

    if isinstance(error, (hub.LocalEntryNotFoundError, ValueError)) and error.__cause__:
        cause = error.__cause__  # of "no file is cached either", or "cannot fetch it again"
        return _explain(wanted, cause) if isinstance(cause, Exception) else None
    if isinstance(error, (hub.OfflineModeIsEnabled, hub.LocalEntryNotFoundError)):
        return _offline(wanted)
    if isinstance(error, hub.HFValidationError):
        return WeightsError(
            f"'{wanted.repo}' is not the name of a repository.", fix="write OWNER/REPOSITORY."
        )
    if isinstance(error, hub.FileMetadataError):
        return WeightsError(
            "the server does not answer like a Hugging Face Hub.",
            where=_url(wanted),
            fix=f"correct or unset HF_ENDPOINT, check the proxy, then `{wanted.command}`.",
        )
    if isinstance(error, hub.HfHubHTTPError):
        return _refused(wanted, error)
    # httpx in hub 1, httpx2 in hub 2; the other is of its storage service
    if type(error).__module__.startswith("httpx") or type(error).__name__ == "XetDownloadError":
        return _unreachable(wanted, error)
    if isinstance(error, OSError):
        return _disk(wanted, error)
    return None


def _refused(wanted: HubFile, error: Any) -> WeightsError:
    """The Hub answered with an error."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return _gated(wanted)
    if isinstance(error, hub.RepositoryNotFoundError):
        return WeightsError(
            f"the Hub has no repository '{wanted.repo}', or it is private.",
            where=_url(wanted),
            fix=f"correct the name; if it is private, `HF_TOKEN=hf_... {wanted.command}`.",
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return WeightsError(
            f"the repository '{wanted.repo}' has no revision '{wanted.revision}'.",
            where=_url(wanted),
            fix=f"check what main holds, then `{wanted.command} --revision main`.",
        )
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return _no_such_file(wanted)
    status = error.response.status_code
    if status == TOO_MANY:
        return WeightsError(
            "too many requests to the Hub from this address (429), even after waiting.",
            where=_url(wanted),
            fix=f"wait a few minutes, then `{wanted.command}`; HF_TOKEN raises the limit.",
        )
    if status in (401, 403):
        return WeightsError(
            f"the Hub refuses access ({status}): the token is wrong or lacks read permission.",
            where=_url(wanted),
            fix=f"`HF_TOKEN=hf_... {wanted.command}` with a token of huggingface.co/settings/tokens"
            ", or unset HF_TOKEN for a public repository.",
        )
    return WeightsError(
        f"the Hub answered with an error ({status}), even after waiting.",
        where=_url(wanted),
        fix=f"try `{wanted.command}` later.",
    )


def _gated(wanted: HubFile) -> WeightsError:
    from huggingface_hub import get_token

    if get_token() is None:
        return WeightsError(
            f"'{wanted.repo}' is open only to users who are logged in and have accepted its terms.",
            where=_url(wanted),
            fix=f"accept them at {_url(wanted)}, then `HF_TOKEN=hf_... {wanted.command}`.",
        )
    return WeightsError(
        f"'{wanted.repo}' requires users to accept its terms, and this token's user has not.",
        where=_url(wanted),
        fix=f"accept them at {_url(wanted)} as that user, then `{wanted.command}`.",
    )


def _no_such_file(wanted: HubFile) -> WeightsError:
    others = _weights_in(wanted)
    what = f"'{wanted.repo}' has no file '{wanted.file}' at '{wanted.revision}'"
    return WeightsError(
        f"{what}; it has {', '.join(others)}." if others else f"{what}.",
        where=_url(wanted),
        fix=f"`{wanted.command} --file {others[0]}`."
        if others
        else f"name another with `{wanted.command} --file FILE`, or `--revision REVISION`.",
    )


def _weights_in(wanted: HubFile) -> list[str]:
    """The safetensors files that the repository does have."""
    from huggingface_hub import HfApi

    try:
        with explained(wanted):
            found = HfApi().model_info(wanted.repo, revision=wanted.revision, timeout=10)
    except WeightsError:  # the caller reports the missing file; this is only for its hint
        return []
    names = [file.rfilename for file in found.siblings or ()]
    return [name for name in names if name.endswith(".safetensors")]


def _offline(wanted: HubFile) -> WeightsError:
    return WeightsError(
        f"'{wanted.name}' is not in the cache, and HF_HUB_OFFLINE forbids the network.",
        where=_url(wanted),
        fix=f"`HF_HUB_OFFLINE=0 {wanted.command}`; {_by_folder(wanted)}.",
    )


def _unreachable(wanted: HubFile, error: Exception) -> WeightsError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return WeightsError(
        f"the Hub cannot be reached, or stopped sending: {reason}.",
        where=_url(wanted),
        fix=f"check network, proxy and HF_ENDPOINT, then `{wanted.command}`; {_by_folder(wanted)}.",
    )


def _by_folder(wanted: HubFile) -> str:
    return (
        f"or on a machine with network `{wanted.command}` and "
        f"`mimdet weights export {wanted.name} --to DIR`, then here `mimdet pull --from DIR`"
    )


def _disk(wanted: HubFile, error: OSError) -> WeightsError | None:
    """The cache cannot store the file, or the file is shorter than announced."""
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    elsewhere = f"`HF_HOME=DIR {wanted.command}`"
    if error.errno in FULL:
        return WeightsError(
            f"no space is left for '{wanted.name}'.",
            where=cache,
            fix=f"free some, or use another disk: {elsewhere}.",
        )
    if error.errno in FORBIDDEN:
        return WeightsError(
            "the Hub's cache is not writable.",
            where=error.filename or cache,
            fix=f"use a writable folder: {elsewhere}.",
        )
    if "Consistency check failed" in str(error):
        return WeightsError(
            f"'{wanted.name}' was cut short: fewer bytes arrived than announced.",
            where=_url(wanted),
            fix=f"run `{wanted.command}` again; nothing was kept.",
        )
    return None


def _url(wanted: HubFile) -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{wanted.repo}"
