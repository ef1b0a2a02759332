"""Fine-tune plain vision transformers for detection: a command line, and a Python API.

    import mimdet_cli as mimdet

    detector = mimdet.load("runs/demo")
    detector.predict("photo.jpg").draw()

The names are those of `mimdet_cli.api`; torch is loaded on the first use of one.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimdet_cli.api import Console as Console
    from mimdet_cli.api import Detector as Detector
    from mimdet_cli.api import MimdetError as MimdetError
    from mimdet_cli.api import MimdetWarning as MimdetWarning
    from mimdet_cli.api import Prediction as Prediction
    from mimdet_cli.api import Progress as Progress
    from mimdet_cli.api import Recipe as Recipe
    from mimdet_cli.api import ScoringReport as ScoringReport
    from mimdet_cli.api import TrainingReport as TrainingReport
    from mimdet_cli.api import build_model as build_model
    from mimdet_cli.api import evaluate as evaluate
    from mimdet_cli.api import load as load
    from mimdet_cli.api import train as train

__version__ = "0.1.0"
API = (
    "Console", "Detector", "MimdetError", "MimdetWarning", "Prediction", "Progress", "Recipe",
    "ScoringReport", "TrainingReport", "build_model", "evaluate", "load", "train",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in API:
        from mimdet_cli import integrity

        integrity.check()
        return getattr(import_module("mimdet_cli.api"), name)
    raise AttributeError(f"module 'mimdet_cli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*API, "__version__"])
