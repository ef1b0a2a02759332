"""Choose the folder of a new run; without torch, so that a mistake is reported immediately."""

from datetime import datetime
from pathlib import Path

from mimdet_cli.errors import RecipeError


def choose_folder(out: Path | None, name: str, *, resume: bool) -> Path:
    """The folder to write the run to."""
    if out is None:
        if resume:
            raise RecipeError(
                "the run to resume is not given.",
                where="resume",
                fix="give its folder as out.",
            )
        if Path(name).name != name or not name.isprintable():  # it may be someone else's recipe
            raise RecipeError(
                f"the name {name!r} cannot be part of a folder's name.",
                where="name",
                fix="use letters, digits, - and _, or give the run folder as out.",
            )
        return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    if out.exists() and not out.is_dir():
        raise RecipeError("the run folder is a file.", where=str(out), fix="give another folder.")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise RecipeError(
            "the run folder is not empty.",
            where=str(out),
            fix="give another folder, or resume the run in it.",
        )
    return out
