"""Check what a Hub states about a file before the client acts on it.

The client names files of its cache after the commit and the ETag that the server states. Unchecked,
a server or a mirror could choose where its bytes are written.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from mimdet_cli.errors import WeightsError
from mimdet_cli.weights.fetch_errors import HubFile

COMMIT: Final = re.compile(r"[0-9a-f]{40}")
ETAG: Final = re.compile(r'(?:W/)?"?([0-9a-f]{40}|[0-9a-f]{64})"?')
"""The SHA-1 of a git blob, or the SHA-256 of a large file."""
LARGEST: Final = 10**13
"""Bytes; more than any published weights have."""


@contextmanager
def checked_answers(wanted: HubFile) -> Iterator[None]:
    """Inside, the client raises `WeightsError` at an answer that states no plain hashes."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http

    make = _http._GLOBAL_CLIENT_FACTORY

    def checking_client() -> Any:
        client = make()
        hooks = client.event_hooks
        client.event_hooks = {**hooks, "response": [*hooks["response"], check]}
        return client

    def check(response: Any) -> None:
        problem = _problem(response.headers)
        if problem is not None:
            raise WeightsError(
                f"the server states {problem}; '{wanted.name}' was not downloaded.",
                where=f"{response.request.url.host}, for {wanted.repo}",
                fix=f"correct or unset HF_ENDPOINT, then `{wanted.command}`.",
            )

    set_client_factory(checking_client)
    try:
        yield
    finally:
        set_client_factory(make)


def _problem(headers: Any) -> str | None:
    """What an answer about a file states wrongly; None if nothing, or if it is about no file."""
    commit, etag = headers.get("x-repo-commit"), headers.get("x-linked-etag") or headers.get("etag")
    size = headers.get("x-linked-size", "0")
    if commit is None:
        return None
    if not COMMIT.fullmatch(commit):
        return f"the commit {commit[:50]!r}, which is not 40 hexadecimal digits"
    if etag is not None and not ETAG.fullmatch(etag):
        return f"the hash {etag[:50]!r}, which is not 40 or 64 hexadecimal digits"
    if not size.isdecimal() or int(size) > LARGEST:
        return f"a size of {size[:50]} bytes"
    return None
