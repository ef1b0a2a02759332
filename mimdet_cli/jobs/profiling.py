"""Measure a recipe's detector: parameters, multiply-accumulates, latency, peak memory.

Weights are random. Only the number of detections depends on them, and `measure.speed` controls it.
The training step is measured on one image, with the recipe's optimizer.
"""

import platform
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from backbones.contract import Padding
from heads.mask_rcnn import MaskRCNN
from mimdet_cli.build import (
    build_detector,
    build_state,
    build_step,
    choose_device,
    complete,
    read_split,
    usable_precision,
)
from mimdet_cli.data.batch import Batch
from mimdet_cli.data.transforms import EvalTransform
from mimdet_cli.engine.optim import OPTIMIZERS
from mimdet_cli.errors import DivergedError, RecipeError
from mimdet_cli.jobs.profile_report import (
    PeakMemory,
    ProfileReport,
    ProfileSetting,
    Published,
    published,
)
from mimdet_cli.jobs.token_sampling import at_ratio, sampling_of
from mimdet_cli.measure.flops import Macs, count_macs
from mimdet_cli.measure.memory import GB, free_bytes, meter, unmeasurable
from mimdet_cli.measure.parameters import count_parameters
from mimdet_cli.measure.scene import scene
from mimdet_cli.measure.speed import time_forward
from mimdet_cli.progress import QUIET, Progress
from mimdet_cli.recipe.catalog import shipped_folder
from mimdet_cli.recipe.load import ResolvedRecipe, load_recipe
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.schema import CompletedRecipe

PHOTOGRAPH = (480, 640)  # height and width of most COCO images
COCO_CLASSES = 80
STEPS = 20  # enough for the fp16 loss scale to settle
NUMBER_BYTES = 4  # gradients and the optimizer's moments are in fp32

Size = tuple[int, int]


def profile(
    resolved: ResolvedRecipe,
    *,
    size: Size | None,
    ratio: float | None,
    overrides: Sequence[Override] = (),
    classes: int | None,
    device: str | None,
    progress: Progress = QUIET,
) -> ProfileReport:
    """Measure a recipe at `size` (height, width); default: the evaluation size of a photograph.

    `ratio` is the share of tokens in evaluation and training (default: the recipe's). `overrides`
    are those applied to the recipe; they must not set the ratio as well. `classes` defaults to the
    number in the recipe's data, or to COCO's 80 without data.
    """
    recipe = complete(resolved).recipe
    if ratio is not None:
        recipe = at_ratio(recipe, ratio, training=True, overrides=overrides)
    chosen = choose_device(device)
    classes = classes or _classes(recipe)
    usual = EvalTransform(recipe.data).shape(*PHOTOGRAPH)
    size = size or usual
    setting = _setting(recipe, chosen, classes, size)
    progress.say(f"{setting.recipe} on {setting.hardware}: counting")
    with torch.device("meta"):
        shape_only = build_detector(recipe, classes)
    _refuse_size(size, shape_only.backbone.padding)
    parameters = count_parameters(shape_only)
    macs = _macs_of_shapes(shape_only, size)
    problem = unmeasurable(chosen)
    peak_gb = None if problem else meter(chosen).peak_gb
    detector = build_detector(recipe, classes).to(chosen)
    if recipe.train.channels_last:
        detector.to(memory_format=torch.channels_last)
    macs = macs or count_macs(detector, size)
    progress.say("timing the forward pass")
    batch = Batch.of([scene(size, classes)])
    (image,) = batch.to(chosen).images
    forward_gb = peak_gb(lambda: _forward(detector, image)) if peak_gb else None
    latency = time_forward(detector, image)
    step_gb = None
    if peak_gb:
        progress.say("measuring a training step")
        step_gb, problem = _step_gb(recipe, detector, batch, chosen, peak_gb)
    memory = PeakMemory(forward_gb, step_gb, problem)
    return ProfileReport(setting, parameters, macs, latency, memory, paper_of(recipe, size, usual))


def _classes(recipe: CompletedRecipe) -> int:
    data = recipe.data
    if data.root is None and data.val_annotations is None:
        return COCO_CLASSES
    return len(read_split(data, "val", need_masks=False).categories)


def _refuse_size(size: Size, padding: Padding) -> None:
    if padding.square is not None and max(size) > padding.square:
        raise RecipeError(
            f"an image of {size[0]} x {size[1]} pixels does not fit the backbone's square of "
            f"{padding.square} pixels.",
            where="--size",
            fix=f"use at most {padding.square} pixels per side.",
        )


def _setting(
    recipe: CompletedRecipe, device: torch.device, classes: int, size: Size
) -> ProfileSetting:
    if device.type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        hardware = f"{platform.machine()} {device.type}, {torch.get_num_threads()} threads"
    sampling = sampling_of(recipe)
    return ProfileSetting(
        recipe=recipe.name,
        device=str(device),
        hardware=hardware,
        classes=classes,
        size=size,
        eval_ratio=None if sampling is None else sampling.eval_ratio,
        train_ratio=None if sampling is None else sampling.train_ratio,
        precision=usable_precision(recipe, device),
    )


def _macs_of_shapes(shape_only: MaskRCNN, size: Size) -> Macs | None:
    """Count on the meta device; None for a backbone whose forward pass depends on values."""
    try:
        return count_macs(shape_only, size)
    except RuntimeError:
        return None


@torch.inference_mode()
def _forward(detector: MaskRCNN, image: torch.Tensor) -> None:
    detector.eval()([image])


def _step_gb(
    recipe: CompletedRecipe,
    detector: MaskRCNN,
    batch: Batch,
    device: torch.device,
    peak_gb: Callable[[Callable[[], None]], float],
) -> tuple[float | None, str | None]:
    """Peak of a training step with initialised optimizer state; or None and the reason."""
    learning = sum(p.numel() for p in detector.parameters() if p.requires_grad)
    free = free_bytes(device)
    needed = NUMBER_BYTES * learning * (1 + OPTIMIZERS[recipe.optimizer.name].moments)
    if free is not None and needed > free:
        return None, (
            f"gradients and moments need {needed / GB:.3g} GB, only {free / GB:.3g} GB are free"
        )
    state = build_state(recipe, detector, device)
    step = build_step(recipe, STEPS, device)

    def run() -> None:
        while not state.optimizer.state and state.step < STEPS - 1:
            step(state, [batch])  # a step skipped by loss scaling creates no state
        step(state, [batch])

    try:
        return peak_gb(run), None
    except torch.OutOfMemoryError:
        return None, "a training step does not fit into this device's memory"
    except DivergedError as error:
        return None, f"with random weights, {error.what}"


def paper_of(recipe: CompletedRecipe, size: Size, usual: Size) -> Published | None:
    """The published figures that apply to this recipe and `size`.

    `usual` is the evaluation size of a photograph.
    """
    stated = published().get(recipe.name)
    if stated is None:
        return None
    original = complete(load_recipe(shipped_folder() / f"{recipe.name}.yaml")).recipe
    ours, theirs = recipe.backbone.model_dump(), original.backbone.model_dump()
    changed = {key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)}
    declared = sampling_of(recipe)
    shares = () if declared is None else (declared.eval_option, declared.train_option)
    if recipe.head != original.head or changed - {*shares}:
        return None
    other_size = list(size) not in (list(usual), stated.size)
    if changed & {*shares[:1]} or other_size:
        stated = replace(stated, gmacs=None, latency_ms=None)
    if changed & {*shares[1:]} or other_size:
        stated = replace(stated, step_memory_gb=None)
    return stated
