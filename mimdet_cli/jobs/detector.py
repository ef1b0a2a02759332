"""A trained detector in memory that predicts on images of any kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from heads.mask_rcnn import MaskRCNN
from mimdet_cli.build import choose_device
from mimdet_cli.data.annotations import Category
from mimdet_cli.data.batch import Batch, RawSample
from mimdet_cli.data.images import Pixels, read_image, to_pixels
from mimdet_cli.data.transforms import EvalTransform
from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.inference import detect
from mimdet_cli.evaluation.prediction import Prediction
from mimdet_cli.jobs.run_folder import Checkpoint, open_checkpoint
from mimdet_cli.jobs.token_sampling import sampled_evals
from mimdet_cli.recipe.overrides import Override
from mimdet_cli.recipe.schema import CompletedRecipe
from mimdet_cli.words import counted

ImageLike = Image.Image | Pixels | Tensor | str | Path
"""A file, a PIL image, a uint8 array (H, W, 3) or (H, W), or a uint8 tensor (3, H, W)."""
AnyImage = TypeVar("AnyImage", bound=ImageLike)
KINDS = "a path, a PIL image, an array (H, W, 3) of uint8 RGB, or a tensor (3, H, W) of uint8 RGB"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Detector:
    """The model of a checkpoint on a device; `model` is the `torch.nn.Module` itself."""

    model: MaskRCNN
    checkpoint: Checkpoint
    device: torch.device

    @property
    def recipe(self) -> CompletedRecipe:
        """The recipe that it was trained with."""
        return self.checkpoint.recipe

    @property
    def categories(self) -> tuple[Category, ...]:
        """The classes, with the category ids of the training data."""
        return self.checkpoint.categories

    @property
    def class_names(self) -> list[str]:
        """The class names by label."""
        return [category.name for category in self.categories]

    @overload
    def predict(self, images: ImageLike, *, score: float = 0.5) -> Prediction: ...

    @overload
    def predict(
        self, images: list[AnyImage] | tuple[AnyImage, ...], *, score: float = 0.5
    ) -> list[Prediction]: ...

    def predict(
        self, images: ImageLike | list[AnyImage] | tuple[AnyImage, ...], *, score: float = 0.5
    ) -> Prediction | list[Prediction]:
        """Detections with at least `score` in one image, or in each image of a list.

        Images are any of `ImageLike`, in RGB. Boxes and masks are in pixels of the given image and
        do not depend on the other images of a list. Raises `DataError` for values that are not
        images and for files that cannot be read.
        """
        if not isinstance(score, Real) or not 0 <= score <= 1:
            raise DataError(
                f"the score {score!r} is not a number from 0 to 1.",
                where="predict(score)",
                fix="give a number from 0 to 1.",
            )
        if isinstance(images, list | tuple):
            return [self._predict(image, score) for image in images]
        return self._predict(images, score)

    def __repr__(self) -> str:
        classes = counted(len(self.categories), "class", "classes")
        backbone = self.recipe.backbone.name
        return f"<Detector: {backbone}, {classes}, {self.checkpoint.folder}, {self.device}>"

    def _predict(self, image: object, score: float) -> Prediction:
        pixels = _pixels(image)
        height, width = pixels.shape[:2]
        resized = EvalTransform(self.recipe.data)(pixels)
        batch = Batch.of([RawSample(resized, 1, (height, width))])
        (result,) = detect(self.model, [batch], self.device, sampled=sampled_evals(self.recipe))
        return Prediction(pixels, result, self.categories).above(score)


def load_detector(
    path: Path, *, overrides: Sequence[Override] = (), device: str | None = None
) -> Detector:
    """Load the detector of a run (its `last/`) or of a checkpoint in it."""
    checkpoint = open_checkpoint(path, overrides)
    chosen = choose_device(device)
    return Detector(checkpoint.detector(chosen), checkpoint, chosen)


def _pixels(image: object) -> Pixels:
    """The image as (H, W, 3) uint8 RGB."""
    if isinstance(image, str | Path):
        return read_image(Path(image).expanduser())
    if isinstance(image, Image.Image):
        return to_pixels(image)
    if isinstance(image, Tensor):
        if image.ndim == 3 and image.shape[0] in (1, 3) and image.dtype == torch.uint8:
            return _three_channels(image.permute(1, 2, 0).cpu().numpy())  # (3, H, W) -> (H, W, 3)
        raise _not_an_image(f"a tensor {tuple(image.shape)} of {image.dtype}")
    if isinstance(image, np.ndarray):
        grey = image[..., None] if image.ndim == 2 else image
        if grey.ndim == 3 and grey.shape[2] in (1, 3) and grey.dtype == np.uint8:
            return _three_channels(grey)
        raise _not_an_image(f"an array {image.shape} of {image.dtype}")
    raise _not_an_image(f"a value of type {type(image).__name__}")


def _three_channels(pixels: Pixels) -> Pixels:
    """(H, W, 1 or 3) -> (H, W, 3), with at least one pixel."""
    if 0 in pixels.shape:
        raise _not_an_image(f"an empty array {pixels.shape}")
    return np.array(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))  # the caller may reuse its own


def _not_an_image(what: str) -> DataError:
    return DataError(f"not an image: {what}.", where="predict(images)", fix=f"give {KINDS}.")
