"""The masks of one image's instances: they follow every transform, and answer in any box.

Nothing is drawn until the mask head asks for a target in a box (MIMDet section 3 uses the Mask
R-CNN head of He et al. 2017). Polygons are then drawn in the box as detectron2 draws them: moved
by the box corner, scaled to the grid, filled by pycocotools. Bit masks are averaged over each grid
cell by RoIAlign (half-pixel aligned, adaptive samples) and kept where the average is at least 0.5.

Differs from detectron2: one image may mix polygons and bit masks; a bit mask is pooled from its
bounding box, by two small matrix products, which gives the same averages.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

from mimdet_cli.data.mask_shapes import BitPatch, Polygons, Shape, Window


@dataclass(frozen=True, slots=True)
class InstanceMasks:
    """One shape per instance, in an image of `height` x `width` pixels."""

    shapes: tuple[Shape, ...]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.shapes)

    def flip_horizontal(self) -> Self:
        """The masks of the image mirrored left to right."""
        return self._each(lambda shape: shape.flip_horizontal(self.width), self.height, self.width)

    def flip_vertical(self) -> Self:
        """The masks of the image mirrored top to bottom."""
        return self._each(lambda shape: shape.flip_vertical(self.height), self.height, self.width)

    def resize(self, height: int, width: int) -> Self:
        """The masks of the image resized; polygons are scaled, bit masks take nearest pixels."""
        old, new = (self.height, self.width), (height, width)
        return self._each(lambda shape: shape.resize(old, new), height, width)

    def crop(self, window: Window) -> Self:
        """The masks of a cut-out of the image."""
        return self._each(lambda shape: shape.crop(window), window.height, window.width)

    def select(self, index: Sequence[int] | NDArray[np.int64]) -> Self:
        """The instances `index`, in that order."""
        return type(self)(tuple(self.shapes[int(i)] for i in index), self.height, self.width)

    def not_empty(self) -> NDArray[np.bool_]:
        """Which instances still show something: (n,)."""
        return np.array([not shape.is_empty() for shape in self.shapes], dtype=np.bool_)

    def bits(self, i: int) -> NDArray[np.bool_]:
        """Instance `i` on the whole image: (height, width)."""
        shape = self.shapes[i]
        if isinstance(shape, BitPatch):
            full = np.zeros((self.height, self.width), dtype=np.bool_)
            bottom, right = shape.y + shape.height, shape.x + shape.width
            full[shape.y : bottom, shape.x : right] = shape.bits()
            return full
        return fill(shape.rings, self.height, self.width)

    def rasterize(self, index: Tensor, boxes: Tensor, size: int) -> Tensor:
        """Masks `index` (n,) inside `boxes` (n, 4) on a grid of cells: (n, size, size) bool."""
        rows = index.tolist()
        corners = boxes.detach().to("cpu", torch.float32)
        grid = torch.zeros((len(rows), size, size), dtype=torch.bool)
        patched = [i for i, row in enumerate(rows) if isinstance(self.shapes[row], BitPatch)]
        if patched:
            with torch.autocast("cpu", enabled=False):  # targets have a precision of their own
                grid[patched] = self._pool([rows[i] for i in patched], corners[patched], size)
        boxes_array = corners.numpy()
        for i, row in enumerate(rows):
            shape = self.shapes[row]
            if isinstance(shape, Polygons):
                grid[i] = torch.from_numpy(_fill_in_box(shape, boxes_array[i], size))
        return grid.to(boxes.device)

    def _pool(self, rows: list[int], boxes: Tensor, size: int) -> Tensor:
        """Bit masks in boxes (n, 4); RoIAlign's bilinear samples on a regular grid are separable,
        so its cell averages are rows' weights x mask x columns' weights."""
        patches = [shape for i in rows if isinstance(shape := self.shapes[i], BitPatch)]
        left, top, right, bottom = boxes.unbind(dim=1)
        across = _cell_weights(left, right, size, self.width, [p.x for p in patches])
        down = _cell_weights(top, bottom, size, self.height, [p.y for p in patches])
        grid = torch.zeros((len(rows), size, size))
        for row in set(rows):
            uses = [i for i, other in enumerate(rows) if other == row]
            patch = patches[uses[0]]
            bits = torch.from_numpy(patch.bits()).float()  # (h, w)
            columns = across[uses, :, : patch.width].transpose(1, 2)  # (k, w, size)
            grid[uses] = down[uses, :, : patch.height] @ bits @ columns
        return grid >= 0.5

    def _each(self, change: Callable[[Shape], Shape], height: int, width: int) -> Self:
        return type(self)(tuple(change(shape) for shape in self.shapes), height, width)


def fill(rings: Sequence[NDArray[np.float64]], height: int, width: int) -> NDArray[np.bool_]:
    """The union of polygons (k, 2) as bits (height, width), by COCO's rule."""
    flat: Any = [ring.ravel().tolist() for ring in rings]
    if not flat:
        return np.zeros((height, width), dtype=np.bool_)
    merged = coco_mask.merge(coco_mask.frPyObjects(flat, height, width))
    return coco_mask.decode(merged).astype(np.bool_)


def _cell_weights(start: Tensor, end: Tensor, size: int, limit: int, origins: list[int]) -> Tensor:
    """How much each pixel from its box's origin on counts in each cell: (n, size, limit).

    Every cell averages ceil(side / size) samples between pixel centres (RoIAlign, aligned); those
    within a pixel of the image's edge take the edge's value, those beyond count as empty.
    """
    side = end - start
    samples = torch.ceil(side / size).clamp(min=0)[:, None, None]
    step = torch.arange(max(1, int(samples.max())))
    inner = (step + 0.5) / samples.clamp(min=1)  # (n, 1, r)
    place = torch.arange(size)[:, None] + inner  # (n, size, r), in cells
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


def _fill_in_box(shape: Polygons, box: NDArray[np.float32], size: int) -> NDArray[np.bool_]:
    """Polygons on a grid of cells that covers the box; a side below 0.1 px counts as 0.1."""
    corner = box[:2].astype(np.float64)
    # single precision as in detectron2: a corner that falls on a grid line must fall the same way
    scale = np.float32(size) / np.maximum(box[2:] - box[:2], np.float32(0.1))
    return fill([(ring - corner) * scale for ring in shape.rings], size, size)
