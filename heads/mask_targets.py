"""What the mask head should predict: ground-truth masks inside the boxes that were sampled.

Masks are rasterised on the CPU, inside each box only. Polygons are drawn there as detectron2 draws
them: moved by the box corner, scaled to the grid, filled by pycocotools. Bit masks are averaged
over each grid cell by RoIAlign (half-pixel aligned, adaptive samples) and kept where the average is
at least 0.5.

Differs from detectron2: one image may mix polygons and bit masks; a bit mask is pooled from its
bounding box, by two small matrix products, which gives the same averages.

P foreground regions, s cells per side of the grid.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from heads.instances import BitPatch, Bits, InstanceMasks, Polygons, Ring, Target
from heads.roi_sampling import RegionSample


@torch.no_grad()
def mask_targets(sample: RegionSample, targets: Sequence[Target], size: int) -> Tensor:
    """Ground-truth masks (P, s, s) of a sample that holds foreground regions only.

    The regions of an image are next to each other, as `sample_regions` leaves them. They come from
    the sample's device in one copy, and their masks go there in another.
    """
    device = sample.rois.device
    matched = sample.matched_gt[:, None].float()  # exact up to 2**24 instances
    regions = torch.cat((sample.rois.float(), matched), dim=1).cpu()  # (P, 6)
    masks = [torch.zeros(0, size, size, dtype=torch.bool)]
    for image, target in enumerate(targets):
        mine = regions[regions[:, 0] == image]
        if not len(mine):
            continue
        if target.masks is None:
            raise ValueError(
                "the mask head needs masks, but an image has boxes only; set head.mask=false"
            )
        masks.append(rasterize(target.masks, mine[:, 5].long(), mine[:, 1:5], size))
    return torch.cat(masks).to(device, non_blocking=True)


def rasterize(masks: InstanceMasks, index: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Masks `index` (P,) inside `boxes` (P, 4), all on the CPU: (P, s, s) bool."""
    rows = index.tolist()
    grid = torch.zeros((len(rows), size, size), dtype=torch.bool)
    patched = [i for i, row in enumerate(rows) if isinstance(masks.shapes[row], BitPatch)]
    if patched:
        with torch.autocast("cpu", enabled=False):  # targets do not follow autocast
            grid[patched] = _pool(masks, [rows[i] for i in patched], boxes[patched], size)
    corners = boxes.numpy()
    for i, row in enumerate(rows):
        shape = masks.shapes[row]
        if isinstance(shape, Polygons):
            grid[i] = torch.from_numpy(_fill_in_box(shape, corners[i], size))
    return grid


def fill(rings: Sequence[Ring], height: int, width: int) -> Bits:
    """The union of polygons (k, 2) as bits (height, width), by COCO's rule."""
    flat: Any = [ring.ravel().tolist() for ring in rings]
    if not flat:
        return np.zeros((height, width), dtype=np.bool_)
    merged = coco_mask.merge(coco_mask.frPyObjects(flat, height, width))
    return coco_mask.decode(merged).astype(np.bool_)


def _pool(masks: InstanceMasks, rows: list[int], boxes: Tensor, size: int) -> Tensor:
    """Bit masks in boxes (n, 4); RoIAlign's bilinear samples on a regular grid are separable,
    so its cell averages are rows' weights x mask x columns' weights."""
    patches = [shape for i in rows if isinstance(shape := masks.shapes[i], BitPatch)]
    left, top, right, bottom = boxes.unbind(dim=1)
    across = _cell_weights(left, right, size, masks.width, [p.x for p in patches])
    down = _cell_weights(top, bottom, size, masks.height, [p.y for p in patches])
    grid = torch.zeros((len(rows), size, size))
    for row in set(rows):
        uses = [i for i, other in enumerate(rows) if other == row]
        patch = patches[uses[0]]
        bits = torch.from_numpy(patch.bits()).float()  # (h, w)
        columns = across[uses, :, : patch.width].transpose(1, 2)  # (k, w, s)
        grid[uses] = down[uses, :, : patch.height] @ bits @ columns
    return grid >= 0.5


def _cell_weights(start: Tensor, end: Tensor, size: int, limit: int, origins: list[int]) -> Tensor:
    """How much each pixel from its box's origin on counts in each cell: (n, s, limit).

    Every cell averages ceil(side / s) samples between pixel centres (RoIAlign, aligned); those
    within a pixel of the image's edge take the edge's value, those beyond count as empty.
    """
    side = end - start
    samples = torch.ceil(side / size).clamp(min=0)[:, None, None]
    step = torch.arange(max(1, int(samples.max())))
    inner = (step + 0.5) / samples.clamp(min=1)  # (n, 1, r)
    place = torch.arange(size)[:, None] + inner  # (n, s, r), in cells
    place = start[:, None, None] - 0.5 + place * (side / size)[:, None, None]
    counts = (step < samples) & (place >= -1) & (place <= limit)
    share = counts / samples.clamp(min=1)
    place = place.clamp(0, limit - 1)
    low = place.floor()
    origin = torch.tensor(origins)[:, None, None]
    weights = torch.zeros((len(start), size, limit + 1))  # the last column takes what is outside
    for pixel, part in ((low, 1 - (place - low)), (low + 1, place - low)):
        column = pixel.long() - origin
        column = torch.where(column < 0, limit, column.clamp(max=limit))
        weights.scatter_add_(2, column, share * part)
    return weights[:, :, :limit]


def _fill_in_box(shape: Polygons, box: NDArray[np.float32], size: int) -> Bits:
    """Polygons on a grid of cells that covers the box; a side below 0.1 px counts as 0.1."""
    corner = box[:2].astype(np.float64)
    # single precision as in detectron2: a corner that falls on a grid line must fall the same way
    scale = np.float32(size) / np.maximum(box[2:] - box[:2], np.float32(0.1))
    return fill([(ring - corner) * scale for ring in shape.rings], size, size)
