"""The recipe schema: every field of a YAML file, with its type, range, default and description.

The docstring below a field is its description in the JSON schema and the docs. `backbone` stays
open in `Recipe`; its options are validated with the named backbone's own `Options`, ours and third
parties' alike, which gives a `CompletedRecipe`.

Annotations mark what a field affects (`backbones.options.effects`); the default is training. Mark
a new field of an existing section `COUNTED_UNLESS_DEFAULT`.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_serializer, model_validator

from backbones.options.base import BackboneOptions, Count, Positive, Section, Share
from backbones.options.effects import Effect, Identity, Role
from heads.options import HeadOptions

DataPath = Annotated[str | None, Effect.NOTHING, Role.DATA_PATH]


class BackboneSection(BaseModel):
    """The backbone by name; all other keys are options of that backbone."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    name: str = "mimdet"
    """Entry-point name of the backbone (`mimdet backbones ls`)."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The options that the recipe sets, as plain values before validation."""
        return self.model_extra or {}


class Crop(Section):
    """Random resize and crop before the final resize (MIMDet, section 3, as in DETR)."""

    probability: Share = 0.5
    """Fraction of images that are cropped."""
    short_side: tuple[Count, ...] = (400, 500, 600)
    """Short sides to choose from before cropping; the long side is not limited."""
    size: tuple[Count, Count] = (384, 600)
    """Minimum and maximum side of the crop; height and width are sampled independently."""


class Jitter(Section):
    """Large-scale jitter: random resize, then crop to a square canvas (ViTDet, Li et al. 2021)."""

    scale: tuple[Positive, Positive] = (0.1, 2.0)
    """Minimum and maximum scale of the image, relative to the canvas."""
    size: Count = 1024
    """Side of the canvas in pixels."""


class Data(Section):
    """The data set, and how its images are resized, augmented and loaded."""

    root: DataPath = None
    """Folder in COCO layout, with or without `2017` in its names; set by `--data`."""
    train_annotations: DataPath = None
    """Annotation file of the training split; null: found under `root`."""
    train_images: DataPath = None
    """Image folder of the training split; null: found under `root`."""
    val_annotations: DataPath = None
    """Annotation file of the validation split; null: found under `root`."""
    val_images: DataPath = None
    """Image folder of the validation split; null: found under `root`."""
    short_side: tuple[Count, ...] = (480, 512, 544, 576, 608, 640, 736, 768, 800)
    """Short sides in pixels to choose from for each training image."""
    max_side: Count = 1333
    """Maximum long side in pixels after resizing."""
    eval_short_side: Annotated[Count, Effect.EVALUATION, Role.SIZE] = 800
    """Short side in pixels for evaluation and prediction."""
    eval_max_side: Annotated[Count, Effect.EVALUATION] = 1333
    """Maximum long side in pixels for evaluation and prediction."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    vertical_flip: Share = 0.0
    """Probability of a vertical flip, for images without a natural orientation."""
    brightness: Annotated[float, Field(ge=0)] = 0.0
    """Brightness jitter: training pixels are scaled by a factor in [1 / (1 + b), 1 + b]."""
    crop: Crop | None = None
    """Random resize and crop before the final resize; null disables it."""
    largest: Count | None = None
    """Maximum side of training images; larger ones are randomly cropped after resizing."""
    jitter: Jitter | None = None
    """Large-scale jitter, which replaces `short_side` and `crop`; null disables it."""
    pad: Annotated[int, Field(ge=0, le=255)] | None = None
    """Grey level of the padding; null pads with zeros after normalisation."""
    skip_empty: bool = True
    """Skip training images without usable annotations."""
    group_by_aspect: bool = True
    """Batch landscape and portrait images separately, to reduce padding."""
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """Per-channel mean (RGB, 0-255), subtracted from every pixel."""
    pixel_std: tuple[Positive, Positive, Positive] = (58.395, 57.12, 57.375)
    """Per-channel standard deviation (RGB, 0-255) that every pixel is divided by."""
    workers: Annotated[int, Field(ge=0), Effect.NOTHING] = 4
    """Number of data loading processes; 0 loads in the main process."""

    @model_validator(mode="after")
    def _one_kind_of_crop(self) -> Self:
        if self.crop is not None and self.jitter is not None:
            raise ValueError("data.crop and data.jitter cannot be combined; set one to null")
        return self


class Train(Section):
    """Run length, batch size and precision, and how often to evaluate, save and log."""

    epochs: Annotated[Positive | None, Role.LENGTH] = None
    """Length of the run in epochs; set this or `steps`."""
    steps: Annotated[Count | None, Role.LENGTH] = None
    """Length of the run in optimizer steps; set this or `epochs`."""
    epoch_images: Count | None = None
    """Number of images in an epoch; null: the number of training images."""
    batch: Annotated[Count, Role.SIZE] = 64
    """Images per optimizer step, over all processes and accumulation steps."""
    accumulate: Count = 1
    """Number of micro-batches that a step's batch is split into, to save memory."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the forward pass; fp16 uses loss scaling."""
    channels_last: bool = False
    """Use the channels-last memory format, which is faster on most hardware."""
    clip: Positive | None = None
    """Maximum gradient norm; null disables clipping."""
    freeze: tuple[str, ...] = ()
    """Regular expressions of frozen parameters' full names, such as `backbone\\.encoder\\..*`."""
    evals: Annotated[int, Field(ge=0), Effect.NOTHING] = 1
    """Number of evaluations on the val split, evenly spaced, the last one at the end."""
    saves: Annotated[Count, Effect.NOTHING] = 1
    """Number of checkpoints, evenly spaced, the last one at the end."""
    keep: Annotated[Count, Effect.NOTHING] = 1
    """Number of most recent full checkpoints (`step-N/`) to keep."""
    log_every: Annotated[Count, Effect.NOTHING] = 20
    """Steps between log lines."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("set one of train.epochs and train.steps, and the other to null")
        if self.batch % self.accumulate:
            raise ValueError(
                f"train.batch {self.batch} is not divisible by train.accumulate {self.accumulate}"
            )
        return self


OPTIMIZER_OPTIONS: Final = {"adamw": ("betas", "eps"), "sgd": ("momentum",)}
"""The fields of `Optimizer` that apply to one optimizer only."""


class Optimizer(Section):
    """Optimizer, parameter groups and learning-rate schedule.

    The defaults are for AdamW. For SGD, detectron2 uses `lr` 0.02 for 16 images, `scale` linear and
    `weight_decay` 1e-4.
    """

    name: Annotated[Literal["adamw", "sgd"], Identity.COUNTED_UNLESS_DEFAULT] = "adamw"
    """AdamW, or SGD with momentum."""
    lr: Positive = 8e-5
    """Learning rate for a batch of `base_batch`."""
    base_batch: Count = 64
    """Batch size that `lr` was tuned for."""
    scale: Literal["sqrt", "linear", "none"] = "sqrt"
    """How `lr` scales with `train.batch / base_batch`."""
    multiplier: Positive = 1.0
    """Divides the learning rate of pre-trained layers and multiplies that of task layers."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning-rate factor per layer towards the stem; 1 disables it."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """Running-average coefficients of AdamW."""
    eps: Positive = 1e-8
    """Term that AdamW adds to the denominator for numerical stability."""
    momentum: Annotated[float, Field(ge=0, lt=1), Identity.COUNTED_UNLESS_DEFAULT] = 0.9
    """Momentum of SGD; 0 disables it."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Weight decay: decoupled in AdamW, an L2 penalty in SGD."""
    no_decay: Literal["one_dim", "norms", "none"] = "one_dim"
    """Parameters without weight decay: vectors and biases, normalisation layers, or none."""
    schedule: Literal["steps", "cosine"] = "steps"
    """Drop the learning rate at `milestones`, or decay it to zero along half a cosine."""
    milestones: tuple[Share, ...] = (0.75, 0.9166666666666666)
    """Fractions of the run after which the learning rate is multiplied by `gamma`."""
    gamma: Share = 0.1
    """Learning-rate factor at each milestone."""
    warmup_images: Annotated[float, Field(ge=0)] = 30000
    """Number of images of the linear warmup; at most half of the run."""
    warmup_factor: Share = 0.0
    """Fraction of the learning rate at the first step of the warmup."""

    @model_validator(mode="after")
    def _only_its_options(self) -> Self:
        for other, names in OPTIMIZER_OPTIONS.items():
            defaults = {name: type(self).model_fields[name].default for name in names}
            changed = [name for name, value in defaults.items() if getattr(self, name) != value]
            if other != self.name and changed:
                keys = " and ".join(f"optimizer.{name}" for name in changed)
                verb, them = ("applies", "it") if len(changed) == 1 else ("apply", "them")
                resets = " and ".join(
                    f"optimizer.{name} to {json.dumps(defaults[name])}" for name in changed
                )
                raise ValueError(
                    f"{keys} {verb} to {other} only, but optimizer.name is {self.name}; "
                    f"remove {them}, or set {resets} if a base recipe sets {them}"
                )
        return self


class MoreWeights(Section):
    """An additional weights file for a part of the model, loaded after `init.weights`."""

    weights: str
    """Catalogue name or file."""
    format: str | None = None
    """Key layout of a file; not needed for a catalogue name."""


class Init(Section):
    """Where the initial weights come from."""

    checkpoint: Annotated[str | None, Identity.COUNTED_APART] = None
    """Run or checkpoint folder to fine-tune; class-specific layers are reset if classes differ."""
    weights: Annotated[str | None, Role.WEIGHTS] = None
    """Catalogue name (`mae-base`) or file; null trains from random weights."""
    format: str | None = None
    """Key layout of a file, one of the backbone's key maps; not needed for a catalogue name."""
    more: Annotated[tuple[MoreWeights, ...], Role.WEIGHTS] = ()
    """Additional files, loaded in order after `weights`, such as a ConvNeXt for MIMDet's stem."""
    allow_missing: Share = 0.0
    """Fraction of the expected parameters that may be missing from the file."""
    mix_families: bool = False
    """Allow MAE weights trained on different targets (raw, normalised pixels) in one model."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.checkpoint is not None and (self.weights is not None or self.more):
            raise ValueError(
                "init.checkpoint cannot be combined with init.weights or init.more; "
                "set init.weights to null and init.more to []"
            )
        return self


class Recipe(Section):
    """A complete training run."""

    name: Annotated[str, Effect.NOTHING] = "custom"
    """Short name, used for the default run folder."""
    seed: Annotated[int, Field(ge=0), Identity.COUNTED_APART] = 0
    """Seed of weight initialisation, data order, augmentation and token sampling."""
    backbone: BackboneSection = BackboneSection()
    """Backbone name and options."""
    head: HeadOptions = HeadOptions()
    """Region proposal network, box head and mask head."""
    data: Data = Data()
    """Data set and image transforms."""
    train: Train = Train(epochs=36)
    """Run length, batch size, precision, and how often to evaluate, save and log."""
    optimizer: Optimizer = Optimizer()
    """Optimizer, parameter groups and learning-rate schedule."""
    init: Init = Init()
    """Initial weights."""


class CompletedBackbone(BackboneSection):
    """A backbone name with validated options; serialized as one flat section."""

    model_config = ConfigDict(extra="forbid")

    options: BackboneOptions
    """An instance of the backbone's own `Options`."""

    @property
    def values(self) -> Mapping[str, Any]:
        """Every option as a plain value."""
        return self.options.model_dump(mode="json")

    @model_serializer
    def _flat(self) -> dict[str, Any]:
        return {"name": self.name, **self.values}


class CompletedRecipe(Recipe):
    """A recipe with every option of its backbone; what is built and run."""

    backbone: CompletedBackbone
    """Backbone name and validated options."""
