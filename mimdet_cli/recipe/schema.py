"""The recipe: every field that a YAML file may set, with its type, range, default and meaning.

The docstring under a field is its help text, its line in the JSON schema and its row in the docs.
`backbone` stays open here: the rest is validated with the named backbone's own `Options`, so that a
plugin's options are checked exactly as ours; `completed.py` has the recipe that then results.

What a field changes is marked in its annotation (`backbones.options.effects`): one without a mark
changes training. A field that is added to a section is marked `COUNTED_UNLESS_DEFAULT`.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backbones.options.base import Count, Positive, Section, Share
from backbones.options.effects import Effect, Identity, Role
from heads.options import HeadOptions

DataPath = Annotated[str | None, Effect.NOTHING, Role.DATA_PATH]


class BackboneSection(BaseModel):
    """The backbone by name; its other keys are the options of that backbone."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)

    name: str = "mimdet"
    """Entry-point name of the backbone (`mimdet backbones ls`)."""

    @property
    def values(self) -> Mapping[str, Any]:
        """The options as plain values: those that the recipe sets, before they are checked."""
        return self.model_extra or {}


class Crop(Section):
    """Resize, then cut a random window, with a probability (MIMDet section 4, DETR's scheme)."""

    probability: Share = 0.5
    """Share of the images that are cropped."""
    short_side: tuple[Count, ...] = (400, 500, 600)
    """Short sides, one of which is drawn, before cropping; no long-side limit applies."""
    size: tuple[Count, Count] = (384, 600)
    """Smallest and largest side of the window; height and width are drawn separately."""


class Jitter(Section):
    """Large-scale jitter: a drawn size, then a cut to the canvas (ViTDet, Li et al. 2021)."""

    scale: tuple[Positive, Positive] = (0.1, 2.0)
    """Smallest and largest size of the image, in canvas sides."""
    size: Count = 1024
    """Side of the canvas in pixels."""


class Data(Section):
    """Where images and annotations are, and what happens to an image on its way to the network."""

    root: DataPath = None
    """Folder in COCO layout, with or without `2017` in the names; `--data` sets it."""
    train_annotations: DataPath = None
    """Annotation file of the training split; null looks it up below `root`."""
    train_images: DataPath = None
    """Image folder of the training split; null looks it up below `root`."""
    val_annotations: DataPath = None
    """Annotation file of the validation split; null looks it up below `root`."""
    val_images: DataPath = None
    """Image folder of the validation split; null looks it up below `root`."""
    short_side: tuple[Count, ...] = (480, 512, 544, 576, 608, 640, 736, 768, 800)
    """Short sides in pixels, one of which is drawn for each training image."""
    max_side: Count = 1333
    """Longest side in pixels after resizing."""
    eval_short_side: Annotated[Count, Effect.EVALUATION, Role.SIZE] = 800
    """Short side in pixels in evaluation and prediction."""
    eval_max_side: Annotated[Count, Effect.EVALUATION] = 1333
    """Longest side in pixels in evaluation and prediction."""
    flip: Share = 0.5
    """Probability of a horizontal flip."""
    vertical_flip: Share = 0.0
    """Probability of a vertical flip, for images without an upright direction."""
    brightness: Annotated[float, Field(ge=0)] = 0.0
    """Training pixels are multiplied by a factor drawn between 1 / (1 + this) and 1 + this."""
    crop: Crop | None = None
    """Random resize and crop before the final resize; null switches it off."""
    largest: Count | None = None
    """Training images are cut to at most this side, at a random place, after resizing."""
    jitter: Jitter | None = None
    """Large-scale jitter in place of `short_side` and `crop` in training; null switches it off."""
    pad: Annotated[int, Field(ge=0, le=255)] | None = None
    """Grey level that fills an image's canvas; null fills with zeros after normalisation."""
    skip_empty: bool = True
    """Leave images without a usable annotation out of training."""
    group_by_aspect: bool = True
    """Put only landscape or only portrait images into one batch, so that little is padded."""
    pixel_mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    """Mean of red, green and blue on the 0-255 scale, subtracted from every pixel."""
    pixel_std: tuple[Positive, Positive, Positive] = (58.395, 57.12, 57.375)
    """Standard deviation of red, green and blue on the 0-255 scale, divided out."""
    workers: Annotated[int, Field(ge=0), Effect.NOTHING] = 4
    """Processes that read images; 0 reads in the training process."""

    @model_validator(mode="after")
    def _one_kind_of_crop(self) -> Self:
        if self.crop is not None and self.jitter is not None:
            raise ValueError("data.crop and data.jitter exclude each other; set one to null")
        return self


class Train(Section):
    """How long, in what batches and at what precision."""

    epochs: Annotated[Positive | None, Role.LENGTH] = None
    """Length of the run in epochs; give this or `steps`."""
    steps: Annotated[Count | None, Role.LENGTH] = None
    """Length of the run in optimizer steps; give this or `epochs`."""
    epoch_images: Count | None = None
    """Images that count as one epoch; null is the number of training images."""
    batch: Annotated[Count, Role.SIZE] = 64
    """Images per optimizer step, over all processes and accumulation steps."""
    accumulate: Count = 1
    """Parts in which a step's batch is computed, to save memory."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the forward pass; fp16 scales the loss."""
    channels_last: bool = False
    """Keep convolution weights and maps in channels-last memory order (faster on most machines)."""
    clip: Positive | None = None
    """Largest gradient norm; null does not clip."""
    freeze: tuple[str, ...] = ()
    """Patterns of full parameter names that do not learn, such as `backbone\\.encoder\\..*`."""
    evals: Annotated[int, Field(ge=0), Effect.NOTHING] = 1
    """Times the val split is scored during training, evenly spread, the last time at the end."""
    saves: Annotated[Count, Effect.NOTHING] = 1
    """Times the state is saved during training, evenly spread, the last time at the end."""
    keep: Annotated[Count, Effect.NOTHING] = 1
    """Newest full states (`step-N/`) that are kept."""
    log_every: Annotated[Count, Effect.NOTHING] = 20
    """Steps between two lines of the log."""

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give one of train.epochs and train.steps, and null for the other")
        if self.batch % self.accumulate:
            raise ValueError(
                f"train.batch {self.batch} does not divide by train.accumulate {self.accumulate}"
            )
        return self


OPTIMIZER_OPTIONS: Final = {"adamw": ("betas", "eps"), "sgd": ("momentum",)}
"""The fields of `Optimizer` that only one optimizer reads."""


class Optimizer(Section):
    """How parameters follow their gradients, in groups by rule, and the learning-rate schedule.

    The defaults are AdamW's; SGD wants others, in detectron2 `lr` 0.02 for 16 images, `scale`
    linear and `weight_decay` 1e-4.
    """

    name: Annotated[Literal["adamw", "sgd"], Identity.COUNTED_UNLESS_DEFAULT] = "adamw"
    """AdamW, or stochastic gradient descent with momentum."""
    lr: Positive = 8e-5
    """Learning rate that belongs to `base_batch`."""
    base_batch: Count = 64
    """Images per step for which `lr` was chosen."""
    scale: Literal["sqrt", "linear", "none"] = "sqrt"
    """How `lr` follows `train.batch / base_batch`."""
    multiplier: Positive = 1.0
    """Pre-trained encoder layers learn at `lr` divided by this, task layers at `lr` times it."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Learning-rate factor per layer towards the stem; 1 switches it off."""
    betas: tuple[Share, Share] = (0.9, 0.999)
    """AdamW's running-average factors."""
    eps: Positive = 1e-8
    """AdamW's denominator floor."""
    momentum: Annotated[float, Field(ge=0, lt=1), Identity.COUNTED_UNLESS_DEFAULT] = 0.9
    """SGD's factor on the earlier updates; 0 switches it off."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Of the parameters that are decayed: decoupled in AdamW, part of the gradient (L2) in SGD."""
    no_decay: Literal["one_dim", "norms", "none"] = "one_dim"
    """Not decayed: vectors and biases, normalisation layers only, or nothing."""
    schedule: Literal["steps", "cosine"] = "steps"
    """Drop the learning rate at `milestones`, or follow half a cosine to zero."""
    milestones: tuple[Share, ...] = (0.75, 0.9166666666666666)
    """Shares of the run after which the learning rate is multiplied by `gamma`."""
    gamma: Share = 0.1
    """Factor at each milestone."""
    warmup_images: Annotated[float, Field(ge=0)] = 30000
    """Images over which the learning rate rises linearly; at most half of the run."""
    warmup_factor: Share = 0.0
    """Share of the learning rate at the first step."""

    @model_validator(mode="after")
    def _options_of_its_own(self) -> Self:
        for other, names in OPTIMIZER_OPTIONS.items():
            defaults = {name: type(self).model_fields[name].default for name in names}
            given = [name for name, value in defaults.items() if getattr(self, name) != value]
            if other != self.name and given:
                keys = " and ".join(f"optimizer.{name}" for name in given)
                verb, them = ("belongs", "it") if len(given) == 1 else ("belong", "them")
                sets = " and ".join(
                    f"optimizer.{name} to {json.dumps(defaults[name])}" for name in given
                )
                raise ValueError(
                    f"{keys} {verb} to {other}, and optimizer.name is {self.name}; "
                    f"leave {them} out, or set {sets} where a base sets {them}"
                )
        return self


class MoreWeights(Section):
    """A further file that fills a part of the model, after `init.weights`."""

    weights: str
    """Catalogue name or a file."""
    format: str | None = None
    """Key layout of a file; a catalogue name brings its own."""


class Init(Section):
    """Where the weights come from before the first step."""

    checkpoint: Annotated[str | None, Identity.COUNTED_APART] = None
    """Run or checkpoint folder to fine-tune; layers of other classes start anew, as it says."""
    weights: Annotated[str | None, Role.WEIGHTS] = None
    """Catalogue name (`mae-base`) or a file; null trains from random weights."""
    format: str | None = None
    """Key layout of a file, one of the backbone's key maps; a catalogue name brings its own."""
    more: Annotated[tuple[MoreWeights, ...], Role.WEIGHTS] = ()
    """Further files, loaded in order after `weights`, such as a ConvNeXt for MIMDet's stem."""
    allow_missing: Share = 0.0
    """Share of the promised parameters that may be absent from the file."""
    mix_families: bool = False
    """Allow MAE weights of different targets (raw and normalised pixels) in one model."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.checkpoint is not None and (self.weights is not None or self.more):
            raise ValueError(
                "init.checkpoint brings every weight and excludes init.weights and init.more; "
                "set init.weights to null and init.more to []"
            )
        return self


class Recipe(Section):
    """One training run, complete: what is trained, on what, how long, from which weights."""

    name: Annotated[str, Effect.NOTHING] = "custom"
    """Short name; the default run folder is named after it."""
    seed: Annotated[int, Field(ge=0), Identity.COUNTED_APART] = 0
    """Seed of the weights, the data order, the augmentation and the token sampling."""
    backbone: BackboneSection = BackboneSection()
    """Backbone name and its options."""
    head: HeadOptions = HeadOptions()
    """Region proposal network, box head and mask head."""
    data: Data = Data()
    """Data set and image transforms."""
    train: Train = Train(epochs=36)
    """Length, batch, precision, and how often to evaluate and save."""
    optimizer: Optimizer = Optimizer()
    """Update rule, parameter groups and schedule."""
    init: Init = Init()
    """Pre-trained weights."""
