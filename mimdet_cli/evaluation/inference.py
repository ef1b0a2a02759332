"""Run a detector over batches and collect its predictions in the pixels of the original images."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from heads.mask_rcnn import MaskRCNN
from mimdet_cli.data.batch import Batch
from mimdet_cli.evaluation.ensemble import SampledEvals, detect_sampled, digest
from mimdet_cli.evaluation.paste import to_result
from mimdet_cli.evaluation.results import ImageResult

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def detect(
    model: nn.Module,
    batches: Iterable[Batch],
    device: torch.device,
    precision: Precision = "fp32",
    on_image: Callable[[int], None] | None = None,
    sampled: SampledEvals | None = None,
) -> list[ImageResult]:
    """Predictions for every image of `batches`, in order.

    `model` takes a list of (3, h, w) uint8 images on `device` and returns one `Detections` each.
    `on_image` is called after each image with the number of finished images. `sampled` is for a
    `MaskRCNN` that samples its tokens: each image is then evaluated alone, once or several times.
    """
    results: list[ImageResult] = []
    with _evaluating(model), torch.inference_mode():
        for batch in batches:
            images = batch.to(device).images
            with torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32"):
                if sampled is None:
                    predictions = model(images)
                else:
                    assert isinstance(model, MaskRCNN)
                    digests = [digest(image) for image in batch.images]
                    predictions = detect_sampled(model, images, digests, sampled)
            rows = zip(predictions, batch.image_ids, batch.sizes, batch.original_sizes, strict=True)
            for row in rows:
                results.append(to_result(*row))
                if on_image is not None:
                    on_image(len(results))
    return results


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Switch to evaluation mode; restore the mode of every module on exit."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
