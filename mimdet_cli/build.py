"""The only place that combines recipe, backbone, head, data, optimizer and schedule.

Everything returned is a plain object that is independent of recipes.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import torch

from backbones.contract import Backbone, Level, Padding
from backbones.options.base import for_one_process
from heads.mask_rcnn import MaskRCNN
from mimdet_cli import plugins
from mimdet_cli.backbone_class import backbone_class as backbone_class
from mimdet_cli.data.batch import Batch
from mimdet_cli.data.coco.split import CocoSplit, find_data, load_split
from mimdet_cli.data.loader import train_loader
from mimdet_cli.engine.freeze import freeze
from mimdet_cli.engine.optim import build_optimizer
from mimdet_cli.engine.schedule import Schedule, scaled_lr
from mimdet_cli.engine.state import TrainState
from mimdet_cli.engine.step import Step
from mimdet_cli.errors import PluginError, RecipeError, ResourceError
from mimdet_cli.recipe.load import Completed, ResolvedRecipe, check_options, with_options
from mimdet_cli.recipe.schema import CompletedRecipe, Data
from mimdet_cli.seeding import seed_weights


def complete(resolved: ResolvedRecipe) -> Completed:
    """The recipe with all options of its backbone, validated by the backbone's own class."""
    section = resolved.recipe.backbone
    options_class = backbone_class(section.name).Options
    return with_options(resolved, check_options(options_class, section.values, resolved.origins))


def build_detector(recipe: CompletedRecipe, classes: int, world: int = 1) -> MaskRCNN:
    """The detector of a completed recipe, with weights initialised from its seed.

    `world` is the number of processes; with one, "syncbn" is plain "bn".
    """
    head, options = recipe.head, recipe.backbone.options
    if world == 1:
        head, options = for_one_process(head), for_one_process(options)
    kind = backbone_class(recipe.backbone.name)
    assert isinstance(options, kind.Options)
    seed_weights(recipe.seed)
    backbone = kind(options)
    _refuse_unfinished(backbone, recipe.backbone.name)
    refuse_large_images(recipe, backbone.padding)
    detector = MaskRCNN(
        backbone,
        classes,
        head,
        recipe.data.pixel_mean,
        recipe.data.pixel_std,
        recipe.data.pad,
    )
    freeze(detector, recipe.train.freeze)
    return detector


def _refuse_unfinished(backbone: Backbone, name: str) -> None:
    """Raise unless the backbone has set what the head is built from."""
    levels, padding = getattr(backbone, "levels", ()), getattr(backbone, "padding", None)
    missing = [] if isinstance(padding, Padding) else ["padding (a Padding)"]
    if not levels or not all(isinstance(level, Level) for level in levels):
        missing.append("levels (a tuple of Level)")
    if missing:
        registration = plugins.find(name)
        raise PluginError(
            f"the backbone '{name}' does not set {' or '.join(missing)}.",
            where=f"{registration.value} of {registration.provider}",
            fix="set them in its __init__.",
        )


def refuse_large_images(recipe: CompletedRecipe, padding: Padding) -> None:
    """Raise if the data settings allow images larger than the backbone's square, if it has one."""
    side = padding.square
    if side is None:
        return
    data = recipe.data
    sizes = {"data.eval_max_side": data.eval_max_side}
    if data.jitter is not None:
        sizes["data.jitter.size"] = data.jitter.size
    elif data.largest is None or data.largest > data.max_side:
        sizes["data.max_side"] = data.max_side
    else:
        sizes["data.largest"] = data.largest
    square = "'backbone.square'" if "square" in recipe.backbone.values else "the backbone's square"
    errors = [
        RecipeError(
            f"'{key}' {size} is larger than the square of {side} pixels that the backbone "
            f"'{recipe.backbone.name}' pads images to.",
            where=key,
            fix=f"set '{key}' to at most {side}, or increase {square}.",
        )
        for key, size in sizes.items()
        if size > side
    ]
    if errors:
        raise RecipeError.joined(errors)


def choose_device(name: str | None) -> torch.device:
    """The device called `name`; by default the first GPU, else the CPU."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RecipeError(
            f"'{name}' is not a device.", where="device", fix="use cpu, cuda, cuda:1 or mps."
        ) from error
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ResourceError(
            f"the device '{name}' cannot be used: {str(error).splitlines()[0]}",
            where="device",
            fix="use the device cpu, or install a torch build that supports it.",
        ) from error
    return device


def usable_precision(
    recipe: CompletedRecipe, device: torch.device
) -> Literal["fp32", "bf16", "fp16"]:
    """The recipe's precision, or fp32 where the device does not support it."""
    if recipe.train.precision == "fp16" and device.type == "cpu":
        return "fp32"
    return recipe.train.precision


def build_state(recipe: CompletedRecipe, detector: MaskRCNN, device: torch.device) -> TrainState:
    """Model, optimizer and loss scale on `device`, before the first step."""
    detector.to(device)
    if recipe.train.channels_last:
        detector.to(memory_format=torch.channels_last)
    scaled = usable_precision(recipe, device) == "fp16"
    return TrainState(
        model=detector,
        optimizer=build_optimizer(detector, recipe.optimizer, scaled_lr(recipe)),
        scaler=torch.amp.GradScaler(device.type, enabled=scaled),
    )


def build_step(recipe: CompletedRecipe, steps: int, device: torch.device) -> Step:
    """The training step of a run of `steps`."""
    return Step(
        device=device,
        precision=usable_precision(recipe, device),
        lr=scaled_lr(recipe),
        schedule=Schedule.of(recipe, steps),
        clip=recipe.train.clip,
        seed=recipe.seed,
    )


def read_split(data: Data, split: Literal["train", "val"], need_masks: bool) -> CocoSplit:
    """Read and check a split of the recipe's data."""
    return load_split(*find_data(data, split), need_masks=need_masks, scored=split == "val")


def step_batches(
    recipe: CompletedRecipe, split: CocoSplit, device: torch.device, start: int, steps: int
) -> Iterator[Sequence[Batch]]:
    """The micro-batches of each step, after `start` finished steps and up to `steps`."""
    parts = recipe.train.accumulate
    batches = iter(
        train_loader(
            split,
            recipe.data,
            seed=recipe.seed,
            batch=recipe.train.batch // parts,
            accumulate=parts,
            start_step=start,
            steps=steps - start,
            pin_memory=device.type == "cuda",
        )
    )
    while group := list(islice(batches, parts)):
        yield group
