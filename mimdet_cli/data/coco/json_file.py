"""Read a JSON file, and describe its values in messages."""

import json
from pathlib import Path
from typing import Any

from mimdet_cli.errors import DataError


def read_json(path: Path) -> Any:
    """The content of a JSON file, with or without a byte-order mark."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(
            "The file does not exist.", where=str(path), fix="check the path."
        ) from None
    except OSError as error:
        raise DataError(
            f"The file cannot be read: {error.strerror}.",
            where=str(path),
            fix="give a file that can be read.",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            "The file is not text, so it is not JSON.", where=str(path), fix="give a JSON file."
        ) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"The file is not valid JSON: {error.msg}.",
            where=f"{path}, line {error.lineno}, column {error.colno}",
            fix="correct the file, or copy it again if it was truncated.",
        ) from error


def describe(value: object) -> str:
    """A value in a few words, for a message; short lists as they are."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list) and len(value) != 4:
        return f"a list of {len(value)}"
    return "null" if value is None else repr(value)[:60]
