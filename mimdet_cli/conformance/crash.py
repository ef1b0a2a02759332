"""An exception in a few words: its type, its text, and the line of the backbone's own code."""

import inspect
import sys
import traceback
from pathlib import Path


def told(error: BaseException, kind: type) -> str:
    """One line about `error`, which came out of `kind` or of what it calls."""
    text = " ".join(str(error).split())
    shown = text if len(text) <= 300 else f"{text[:300]} ..."
    said = f"{type(error).__name__}: {shown}" if text else type(error).__name__
    place = _place(error, kind)
    return f"{said} ({place})" if place else said


def _place(error: BaseException, kind: type) -> str | None:
    """File and line of the innermost frame in the package of `kind`, then of any frame at all."""
    frames = traceback.extract_tb(error.__traceback__)
    root = _root(kind)
    if root is None:
        return None
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(root)]
    if not own:
        return None
    path = Path(own[-1].filename).relative_to(root.parent)
    return f"{path}:{own[-1].lineno}, in {own[-1].name}"


def _root(kind: type) -> Path | None:
    """The folder of the package that defines `kind`, or its file where there is no package."""
    package = sys.modules.get(kind.__module__.partition(".")[0])
    folders = list(getattr(package, "__path__", ()))
    if folders:
        return Path(folders[0])
    try:
        return Path(inspect.getfile(kind))
    except (TypeError, OSError):  # made where there is no file, such as a notebook
        return None
