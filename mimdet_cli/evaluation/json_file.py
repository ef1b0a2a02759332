"""Read a JSON file, and describe what is wrong with a value in it."""

import json
import math
from pathlib import Path
from typing import Any, TypeGuard

from mimdet_cli.errors import DataError


def read_json(path: Path) -> Any:
    """The content of a JSON file; what stops it from being read is a `DataError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("there is no such file.", where=str(path), fix="check the path.") from None
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}.", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise DataError("the file is not text, so not JSON.", where=str(path)) from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"not valid JSON: {error.msg}.",
            where=f"{path}, line {error.lineno}, column {error.colno}",
            fix="write the file again; a file that was cut short looks like this too.",
        ) from error


def is_id(value: object) -> TypeGuard[int]:
    """Whether a value can be an id: a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number, finite or not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def describe(value: object) -> str:
    """A value in a few words, for a message."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "null" if value is None else repr(value)[:40]


def box_problem(value: object) -> str | None:
    """What is wrong with a COCO box (x, y, width, height), if anything."""
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_number, value)):
        return f"bbox is {describe(value)}, not four numbers x, y, width, height."
    if not all(map(math.isfinite, value)):
        return f"bbox {value} has a value that is not a finite number."
    if value[2] < 0 or value[3] < 0:
        return f"bbox {value} has a negative width or height; is it x0, y0, x1, y1?"
    return None


def joined(problems: list[DataError], path: Path, fix: str, most: int = 100) -> DataError:
    """One error that carries at most `most` problems, then the number of the rest, and the fix."""
    shown = problems[:most]
    if rest := len(problems) - most:
        shown += [DataError(f"and {rest} more.", where=str(path))] if rest > 0 else []
    shown[-1].fix = fix
    DataError.joined(shown)
    return shown[0]
