"""The Python API: the commands as functions, for notebooks and programs.

    import mimdet_cli as mimdet

    run = mimdet.train("demo", data="shapes", out="runs/demo").run
    mimdet.evaluate(run).to_json()
    mimdet.load(run).predict("photo.jpg").draw()

A recipe is the name of a shipped one, a file, a dictionary with the sections of a recipe file
(including `extends`), or a `Recipe`; `overrides` change single values by dotted key. User errors
raise `MimdetError`, which states the problem, where it is and how to fix it; constructing a
`Recipe` directly raises pydantic's `ValidationError`. Apart from warnings, functions print nothing;
pass `progress=Console()` for the output of the command line, or any object with the methods of
`mimdet_cli.progress.Progress`. Only `train` changes the global random state: it seeds every step.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from heads.mask_rcnn import MaskRCNN
from mimdet_cli.build import build_detector, complete
from mimdet_cli.console import Console
from mimdet_cli.data.annotations import Category
from mimdet_cli.errors import MimdetError, RecipeError
from mimdet_cli.evaluation.prediction import Prediction
from mimdet_cli.jobs.detector import Detector, load_detector
from mimdet_cli.jobs.initialising import initialise
from mimdet_cli.jobs.out_folder import choose_folder
from mimdet_cli.jobs.scoring import ScoringReport, score_run
from mimdet_cli.jobs.training import TrainingReport
from mimdet_cli.jobs.training import train as run_training
from mimdet_cli.progress import QUIET, MimdetWarning, Progress
from mimdet_cli.recipe.from_python import RecipeLike, changes, resolve_recipe
from mimdet_cli.recipe.schema import Recipe
from mimdet_cli.seeding import preserve_random_state

__all__ = [
    "Console",
    "Detector",
    "MimdetError",
    "MimdetWarning",
    "Prediction",
    "Progress",
    "Recipe",
    "ScoringReport",
    "TrainingReport",
    "build_model",
    "evaluate",
    "load",
    "train",
]


def load(
    run: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Detector:
    """Load the detector of a run folder (its `last/`), or of its `best/`, `last/` or `step-N/`.

    `overrides` may change evaluation settings, such as `{"backbone.eval_ratio": 0.5}` or
    `{"data.eval_short_side": 640}`. `device` is "cpu", "cuda", "cuda:1" or "mps"; default: the
    first GPU, else the CPU. Raises `WeightsError` if there is no complete checkpoint.
    """
    return load_detector(_path(run), overrides=changes(overrides), device=device)


def train(
    recipe: RecipeLike,
    *,
    data: str | Path | None = None,
    out: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int | None = None,
    resume: bool = False,
    device: str | None = None,
    progress: Progress = QUIET,
) -> TrainingReport:
    """Train a recipe and write the run folder `out`, by default `runs/NAME-TIME`.

    `data` is a folder in COCO layout. The report has the folder (`run`), the number of steps, the
    seconds, and the result of the last evaluation (`scored`).
    """
    resolved = resolve_recipe(recipe, overrides, data=data, seed=seed)
    folder = choose_folder(None if out is None else _path(out), resolved.recipe.name, resume=resume)
    return run_training(resolved, out=folder, resume=resume, device=device, progress=progress)


def evaluate(
    run: str | Path,
    *,
    data: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    ratio: float | None = None,
    evals: int = 1,
    out: str | Path | None = None,
    device: str | None = None,
    progress: Progress = QUIET,
) -> ScoringReport:
    """AP of a run, or of a checkpoint in it, on the val split of `data` (default: the run's data).

    `ratio` is the share of tokens that the backbone sees. `evals` is the number of evaluations of
    each image, with differently sampled tokens, that are merged. Predictions and plots go to
    `out`, by default `RUN/eval/NAME`.
    """
    return score_run(
        _path(run),
        data=None if data is None else str(data),
        overrides=changes(overrides),
        device=device,
        progress=progress,
        ratio=ratio,
        evals=evals,
        folder=None if out is None else _path(out),
    )


def build_model(
    recipe: RecipeLike,
    classes: int | Sequence[str] = 80,
    *,
    weights: bool = False,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = QUIET,
) -> MaskRCNN:
    """The detector of a recipe as a plain `torch.nn.Module`, on the CPU.

    In training mode it takes a list of images (3, h, w) uint8 and their `Target`s and returns
    losses by name; in evaluation mode it takes images and returns `Detections` in their pixels.
    Weights are initialised from the recipe's seed; `weights=True` loads those named in `init`.
    """
    names = _class_names(classes)
    resolved = complete(resolve_recipe(recipe, overrides))
    with preserve_random_state():
        model = build_detector(resolved.recipe, len(names))
    if weights:
        categories = [Category(i, name) for i, name in enumerate(names, 1)]
        initialise(model, resolved.recipe, categories, progress)
    return model


def _class_names(classes: int | Sequence[str]) -> list[str]:
    if isinstance(classes, int) and classes >= 1:
        return [f"class {i}" for i in range(1, classes + 1)]
    if not isinstance(classes, int | str) and 0 < len(classes) == len(set(classes)):
        return list(classes)
    raise RecipeError(
        f"{classes!r} is neither a number of classes nor a list of class names.",
        where="classes",
        fix="give a number of at least 1, or a list of distinct names.",
    )


def _path(path: str | Path) -> Path:
    return Path(path).expanduser()
