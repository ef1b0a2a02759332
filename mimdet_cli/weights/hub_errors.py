"""What went wrong between this machine and the Hub, and the command that mends it."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mimdet_cli.errors import WeightsError

if TYPE_CHECKING:
    from mimdet_cli.weights.hub import Wanted

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
TOO_MANY = 429


@contextmanager
def explained(wanted: "Wanted") -> Iterator[None]:
    """Errors of the client become errors that a user can mend; others pass."""
    try:
        yield
    except Exception as error:
        known = _explain(wanted, error)
        if known is None:
            raise
        raise known from error


def _explain(wanted: "Wanted", error: Exception) -> WeightsError | None:
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
            fix=f"correct or unset HF_ENDPOINT, look at the proxy, then `{wanted.command}`.",
        )
    if isinstance(error, hub.HfHubHTTPError):
        return _refused(wanted, error)
    # httpx in hub 1, httpx2 in hub 2; the other is of its storage service
    if type(error).__module__.startswith("httpx") or type(error).__name__ == "XetDownloadError":
        return _unreachable(wanted, error)
    if isinstance(error, OSError):
        return _disk(wanted, error)
    return None


def _refused(wanted: "Wanted", error: Any) -> WeightsError:
    """The Hub answered with an error."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.GatedRepoError):
        return _gated(wanted)
    if isinstance(error, hub.RepositoryNotFoundError):
        return WeightsError(
            f"the Hub has no repository '{wanted.repo}', or it is private.",
            where=_url(wanted),
            fix=f"correct the name; for a private one `HF_TOKEN=hf_... {wanted.command}`.",
        )
    if isinstance(error, hub.RevisionNotFoundError):
        return WeightsError(
            f"the repository '{wanted.repo}' has no revision '{wanted.revision}'.",
            where=_url(wanted),
            fix=f"`{wanted.command} --revision main`, after a look at what that holds.",
        )
    if isinstance(error, hub.RemoteEntryNotFoundError):
        return _no_such_file(wanted)
    status = error.response.status_code
    if status == TOO_MANY:
        return WeightsError(
            "the Hub has had too many requests from here (429), also after waiting.",
            where=_url(wanted),
            fix=f"wait some minutes, then `{wanted.command}`; with HF_TOKEN the limit is higher.",
        )
    if status in (401, 403):
        return WeightsError(
            f"the Hub refuses access ({status}): the token is wrong or lacks the right to read.",
            where=_url(wanted),
            fix=f"`HF_TOKEN=hf_... {wanted.command}` with a token of huggingface.co/settings/tokens"
            ", or unset HF_TOKEN for a public repository.",
        )
    return WeightsError(
        f"the Hub answered with an error ({status}), also after waiting.",
        where=_url(wanted),
        fix=f"try `{wanted.command}` later.",
    )


def _gated(wanted: "Wanted") -> WeightsError:
    from huggingface_hub import get_token

    if get_token() is None:
        return WeightsError(
            f"'{wanted.repo}' is given only to users who are logged in and accept its terms.",
            where=_url(wanted),
            fix=f"accept them at {_url(wanted)}, then `HF_TOKEN=hf_... {wanted.command}`.",
        )
    return WeightsError(
        f"'{wanted.repo}' is given only to users who accept its terms; your token's has not.",
        where=_url(wanted),
        fix=f"accept them at {_url(wanted)} as that user, then `{wanted.command}`.",
    )


def _no_such_file(wanted: "Wanted") -> WeightsError:
    others = _weights_in(wanted)
    what = f"'{wanted.repo}' has no file '{wanted.file}' at '{wanted.revision}'"
    return WeightsError(
        f"{what}; it has {', '.join(others)}." if others else f"{what}.",
        where=_url(wanted),
        fix=f"`{wanted.command} --file {others[0]}`."
        if others
        else f"name another with `{wanted.command} --file FILE`, or `--revision REVISION`.",
    )


def _weights_in(wanted: "Wanted") -> list[str]:
    """The safetensors files that the repository has instead."""
    from huggingface_hub import HfApi

    try:
        with explained(wanted):
            found = HfApi().model_info(wanted.repo, revision=wanted.revision, timeout=10)
    except WeightsError:  # the caller reports the missing file; this was for a better hint
        return []
    names = [one.rfilename for one in found.siblings or ()]
    return [name for name in names if name.endswith(".safetensors")]


def _offline(wanted: "Wanted") -> WeightsError:
    return WeightsError(
        f"'{wanted.name}' is not in the cache, and HF_HUB_OFFLINE forbids the network.",
        where=_url(wanted),
        fix=f"`HF_HUB_OFFLINE=0 {wanted.command}`; or on a machine with network `{wanted.command} "
        f"--to DIR`, and here `mimdet pull --from DIR`.",
    )


def _unreachable(wanted: "Wanted", error: Exception) -> WeightsError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return WeightsError(
        f"the Hub cannot be reached, or has stopped sending: {reason}.",
        where=_url(wanted),
        fix=f"look at network, proxy and HF_ENDPOINT, then `{wanted.command}`; or on another "
        f"machine `{wanted.command} --to DIR`, and here `mimdet pull --from DIR`.",
    )


def _disk(wanted: "Wanted", error: OSError) -> WeightsError | None:
    """The cache cannot take the file, or got less than was announced."""
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    elsewhere = f"`HF_HOME=DIR {wanted.command}`"
    if error.errno in FULL:
        return WeightsError(
            f"there is no space left for '{wanted.name}'.",
            where=cache,
            fix=f"free some, or use another disk: {elsewhere}.",
        )
    if error.errno in FORBIDDEN:
        return WeightsError(
            "the cache of the Hub may not be written.",
            where=error.filename or cache,
            fix=f"use a folder that may: {elsewhere}.",
        )
    if "Consistency check failed" in str(error):
        return WeightsError(
            f"'{wanted.name}' was cut short: fewer bytes came than were announced.",
            where=_url(wanted),
            fix=f"run `{wanted.command}` again; nothing of it was kept.",
        )
    return None


def _url(wanted: "Wanted") -> str:
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{wanted.repo}"
