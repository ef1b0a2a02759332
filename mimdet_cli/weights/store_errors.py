"""What a folder of weights cannot take, and the command that takes another folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mimdet_cli.errors import WeightsError


@contextmanager
def writing(folder: Path, name: str, instead: str) -> Iterator[None]:
    """Errors of writing `name` into `folder` name the command `instead`, with another folder."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        reason = " ".join((said or str(error)).split()).rstrip(".")
        raise WeightsError(
            f"'{name}' cannot be written: {reason}.",
            where=str(folder),
            fix=f"free some space and allow writing there, or take another folder: `{instead}`.",
        ) from error
