import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from torch.nn import functional as F

from heads.instances import Detections
from mimdet_cli.data.coco.rle import to_bitmap
from mimdet_cli.evaluation import paste as module
from mimdet_cli.evaluation.paste import paste, rescale, to_result


def sampled(masks, boxes, height, width):
    """The definition: bilinear sampling of each mask at every pixel centre of the image."""
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    x0, y0, x1, y1 = torch.from_numpy(boxes).T[..., None, None].double()
    grid = torch.stack([(x - x0) / (x1 - x0), (y - y0) / (y1 - y0)], dim=-1) * 2 - 1
    values = F.grid_sample(torch.from_numpy(masks)[:, None].double(), grid, align_corners=False)
    return values[:, 0].numpy()


def random_case(seed, count=20, height=70, width=90):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 1, (count, 2, 2)) * [width, height]
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    boxes[0], boxes[1] = [0, 0, width, height], [10.2, 20.3, 10.4, 20.5]
    return rng.uniform(0, 1, (count, 28, 28)).astype(np.float32), boxes.astype(np.float32)


@pytest.mark.parametrize("strip_bytes", [2**24, 2000])
def test_pasted_masks_equal_bilinear_sampling_of_the_whole_image(monkeypatch, strip_bytes):
    monkeypatch.setattr(module, "STRIP_BYTES", strip_bytes)
    masks, boxes = random_case(0)
    values = sampled(masks, boxes, 70, 90)
    pasted = np.stack([to_bitmap(rle) for rle in paste(masks, boxes, (70, 90))])
    # float32 products against float64: only values that are 0.5 to six digits may differ
    assert ((pasted == (values >= 0.5)) | (np.abs(values - 0.5) < 1e-6)).all()
    assert pasted.any(axis=(1, 2)).sum() > 10


def test_runs_are_written_exactly_as_pycocotools_encodes_the_bit_map():
    masks, boxes = random_case(1)
    boxes[2:5] = [[0, 0, 90, 70], [30, 0, 60, 70], [50, 40, 90, 70]]
    masks[2:5] = 1  # runs that go on in the next column, up to the last pixel of the image
    for rle in paste(masks, boxes, (70, 90)):
        encoded = coco_mask.encode(np.asfortranarray(to_bitmap(rle).astype(np.uint8)))
        assert rle == {"size": [70, 90], "counts": encoded["counts"].decode()}


def test_mask_that_is_nowhere_likely_becomes_an_empty_rle():
    (rle,) = paste(
        np.zeros((1, 28, 28), np.float32), np.array([[2, 3, 9, 9]], np.float32), (20, 30)
    )
    assert not to_bitmap(rle).any()
    assert to_bitmap(rle).shape == (20, 30)


def test_boxes_are_scaled_per_axis_clipped_and_dropped_when_empty():
    boxes = np.array(
        [[10, 20, 30, 40], [-5, -5, 500, 500], [200, 10, 250, 20], [7, 7, 7, 9]], np.float32
    )
    scaled, kept = rescale(boxes, (100, 200), (50, 400))
    assert kept.tolist() == [True, True, False, False]
    assert scaled.tolist() == [[20, 10, 60, 20], [0, 0, 400, 50]]


def test_scores_labels_and_masks_follow_the_boxes_that_are_kept():
    detections = Detections(
        boxes=torch.tensor([[0.0, 0, 10, 10], [30, 3, 30, 9], [5, 5, 20, 20]]),
        scores=torch.tensor([0.9, 0.8, 0.7]),
        labels=torch.tensor([4, 5, 6]),
        masks=torch.stack([torch.full((28, 28), value) for value in (1.0, 1.0, 0.0)]),
    )
    result = to_result(detections, 11, (40, 40), (80, 80))
    assert result.image_id == 11
    assert result.labels.tolist() == [4, 6]
    assert result.scores.tolist() == pytest.approx([0.9, 0.7])
    assert [int(to_bitmap(rle).sum()) for rle in result.rles] == [400, 0]


def test_no_detections_give_an_empty_result_with_and_without_masks():
    for masks in (torch.zeros(0, 28, 28), None):
        detections = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), masks)
        result = to_result(detections, 1, (10, 10), (20, 20))
        assert len(result) == 0
        assert result.rles == (None if masks is None else [])


def test_half_precision_detections_are_accepted():
    detections = Detections(
        boxes=torch.tensor([[0.0, 0, 8, 8]]),
        scores=torch.tensor([0.5], dtype=torch.bfloat16),
        labels=torch.tensor([0]),
        masks=torch.ones(1, 28, 28, dtype=torch.bfloat16),
    )
    result = to_result(detections, 1, (8, 8), (8, 8))
    assert result.scores.dtype == np.float32
    assert to_bitmap(result.rles[0]).all()
