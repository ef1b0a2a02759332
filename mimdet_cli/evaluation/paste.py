"""Map detections from the network's input to the original image, and encode masks as RLE.

Follows detectron2 (02b5c4e, `detector_postprocess` and `paste_masks_in_image`): boxes are scaled by
W_out/w and H_out/h, clipped, and dropped if empty; a mask of m x m probabilities is sampled
bilinearly at the pixel centres (+0.5) inside its box, with zero padding, and thresholded at 0.5.

Bilinear sampling on a regular grid is separable, so a mask takes two small matrix products, for the
pixels of its box only. Runs are found by comparing neighbouring pixels, which avoids the full-image
bitmap that an RLE encoder would need.

Legend: n detections, m mask cells per side, H W pixels of the image, h w pixels of one box.
"""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heads.instances import Detections
from mimdet_cli.data.coco.rle import Rle, encode_counts
from mimdet_cli.evaluation.results import Floats, ImageResult

STRIP_BYTES = 16 * 2**20


def to_result(
    detections: Detections, image_id: int, size: tuple[int, int], original_size: tuple[int, int]
) -> ImageResult:
    """Detections in an image of `size` (height, width), in the pixels of `original_size`."""
    boxes, kept = rescale(_numpy(detections.boxes), size, original_size)
    rles = None
    if detections.masks is not None:
        rles = paste(_numpy(detections.masks)[kept], boxes, original_size)
    return ImageResult(
        image_id=image_id,
        boxes=boxes,
        scores=_numpy(detections.scores)[kept],
        labels=detections.labels.cpu().numpy()[kept],
        rles=rles,
    )


def rescale(
    boxes: Floats, size: tuple[int, int], original_size: tuple[int, int]
) -> tuple[Floats, NDArray[np.bool_]]:
    """The boxes (k, 4) that are not empty in the original image, and a mask (n,) of them."""
    (height, width), (full_height, full_width) = size, original_size
    factor = np.tile(np.array([full_width / width, full_height / height], np.float32), 2)
    limit = np.tile(np.array([full_width, full_height], np.float32), 2)
    scaled = np.clip(boxes * factor, 0, limit)
    kept = (scaled[:, 2] > scaled[:, 0]) & (scaled[:, 3] > scaled[:, 1])
    return scaled[kept], kept


def paste(masks: Floats, boxes: Floats, size: tuple[int, int]) -> list[Rle]:
    """Paste masks (n, m, m) of probabilities into `boxes` (n, 4), as RLE of `size` (H, W)."""
    height, width = size
    runs = [_runs(mask, box, height, width) for mask, box in zip(masks, boxes, strict=True)]
    return encode_counts(runs, height, width)


def _numpy(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().float().numpy()


def _runs(mask: Floats, box: Floats, height: int, width: int) -> list[int]:
    """Run lengths, zeros first, down the columns of the H x W image."""
    x0, y0, x1, y1 = box.tolist()
    top, bottom = max(int(np.floor(y0)), 0), min(int(np.ceil(y1)), height)
    left, right = max(int(np.floor(x0)), 0), min(int(np.ceil(x1)), width)
    columns = mask.T @ _hat(top, bottom, y0, y1, len(mask)).T  # (m, m) -> (m, h)
    strip = max(STRIP_BYTES // (4 * max(bottom - top, 1)), 1)
    switches = [
        _switches(
            _hat(start, min(start + strip, right), x0, x1, len(mask)) @ columns >= 0.5,  # (w, h)
            start * height + top,
            height,
        )
        for start in range(left, right, strip)
    ]
    positions = np.concatenate([np.zeros(1, np.int64), *switches])
    # A run that crosses into the next column of the image ends and starts at the same position.
    ended = np.flatnonzero(positions[2:] == positions[1:-1]) + 1
    positions = np.delete(positions, np.concatenate([ended, ended + 1]))
    counts: list[int] = np.diff(positions, append=height * width).tolist()
    if counts[-1] == 0:
        counts.pop()
    return counts


def _hat(start: int, stop: int, low: float, high: float, cells: int) -> Floats:
    """Bilinear weights (p, m) of the mask cells at the centres of pixels `start`..`stop`."""
    centres = (np.arange(start, stop) + 0.5 - low) * (cells / (high - low)) - 0.5
    distance = np.abs(centres[:, None] - np.arange(cells))
    return np.maximum(0, 1 - distance).astype(np.float32)


def _switches(columns: NDArray[np.bool_], first: int, height: int) -> NDArray[np.int64]:
    """Positions, in column-major order of the image, where runs start and end.

    `columns` (w, h) is a part of the image whose first pixel is at position `first`.
    """
    w, h = columns.shape
    framed = np.zeros((w, h + 2), dtype=bool)
    framed[:, 1:-1] = columns
    column, row = np.nonzero(framed[:, 1:] != framed[:, :-1])
    return first + column * height + row
