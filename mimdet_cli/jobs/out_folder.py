"""The folder of a run that is about to be trained, chosen before anything slow begins."""

from datetime import datetime
from pathlib import Path

from mimdet_cli.errors import RecipeError


def choose_folder(out: Path | None, name: str, *, resume: bool) -> Path:
    """The folder that the run may write to."""
    if out is None:
        if resume:
            raise RecipeError(
                "--resume does not say which run to continue.",
                fix="name its folder: --out RUN --resume.",
            )
        return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    if out.exists() and not out.is_dir():
        raise RecipeError("the run folder is a file.", where=str(out), fix="give another --out.")
    if not resume and out.is_dir() and any(out.iterdir()):
        raise RecipeError(
            "the run folder is not empty.",
            where=str(out),
            fix="give another --out, or --resume to continue the run in it.",
        )
    return out
