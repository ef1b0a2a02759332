"""The embedded data set of an ablation that starts from `demo` and is given no other data."""

from pathlib import Path

from mimdet_cli.data.scenes import CLASSES
from mimdet_cli.data.synthetic import VERSION, write_demo
from mimdet_cli.progress import Progress
from mimdet_cli.recipe.catalog import shipped_folder
from mimdet_cli.recipe.schema import Data

IDENTITY = f"demo {VERSION}"
"""What stands for its content: the same version is the same set."""

AMOUNTS = (1000, 120, len(CLASSES))
"""Images to train on, images to evaluate, classes."""


def is_demo(base: Path) -> bool:
    """Whether a base is the shipped recipe that the data set is made for."""
    return base.resolve() == (shipped_folder() / "demo.yaml").resolve()


def folder_in(out: Path) -> Path:
    """Where the set of the ablation in `out` is."""
    return out / "data"


def is_own(data: Data, out: Path) -> bool:
    """Whether a recipe's data are the set of the ablation in `out`."""
    return data.root == str(folder_in(out))


def make(out: Path, progress: Progress) -> None:
    """Draw the set once; call it under a lock."""
    train, val, _ = AMOUNTS
    if write_demo(folder_in(out), train=train, val=val):
        progress.say(f"data: drew the embedded set into {folder_in(out)}")
