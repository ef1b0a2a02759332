from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from mimdet_cli.reporting.charts import pr_curves, smooth, training_curves

LOSSES = ("rpn_objectness", "rpn_box", "box_class", "box_regression", "mask")


@dataclass
class Precision:
    curves: dict


def train(step, loss=1.0):
    losses = dict.fromkeys(LOSSES, loss / 5 if loss else loss)
    return {"event": "train", "step": step, "loss": loss, "losses": losses, "lr": 1e-4}


def evaluated(step, box, mask):
    return {"event": "eval", "step": step, "box_ap": box, "mask_ap": mask}


def coloured(path):
    """Share of pixels that are neither grey nor white: lines."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return (np.ptp(pixels, axis=2) > 60).mean()


def test_curves_are_drawn_and_other_events_do_not_disturb(tmp_path):
    metrics = [train(step, 1 / step) for step in range(1, 60)]
    metrics += [evaluated(30, 10.0, 9.0), evaluated(60, 20.0, None), {"event": "save", "step": 60}]
    path = tmp_path / "curves.png"
    training_curves(metrics, path)
    assert coloured(path) > 0.003
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]


@pytest.mark.parametrize(
    "metrics",
    [
        [],
        [train(1)],
        [train(1), train(2, None), train(3)],
        [evaluated(5, None, None)],
        [train(1), evaluated(1, 0.0, None)],
    ],
)
def test_runs_with_few_or_missing_numbers_still_get_a_picture(tmp_path, metrics):
    training_curves(metrics, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").size[0] > 1000


def test_precision_is_drawn_for_masks_only_where_they_were_scored(tmp_path):
    lines = {"0.50": [1.0] * 50 + [0.0] * 51, "0.75": []}
    pr_curves(Precision({"box": lines}), tmp_path / "box.png")
    pr_curves(Precision({"box": lines, "mask": lines}), tmp_path / "both.png")
    box, both = Image.open(tmp_path / "box.png").size, Image.open(tmp_path / "both.png").size
    assert both[0] == pytest.approx(2 * box[0], abs=2)
    assert coloured(tmp_path / "box.png") > 0.003


def test_undefined_precision_is_an_empty_panel(tmp_path):
    pr_curves(Precision({"box": {"0.50": [], "0.75": []}}), tmp_path / "none.png")
    assert coloured(tmp_path / "none.png") == 0


def test_smoothing_is_a_centred_mean_that_skips_gaps():
    values = np.array([1.0, 2, 3, np.nan, 5])
    assert smooth(values, 1).tolist()[:3] == [1, 2, 3]
    assert smooth(values, 3).tolist() == [1.5, 2, 2.5, 4, 5]
    assert np.isnan(smooth(np.array([np.nan, np.nan]), 3)).all()


def test_drawing_leaves_no_figure_open_in_pyplot(tmp_path):
    from matplotlib import pyplot

    training_curves([train(1)], tmp_path / "curves.png")
    assert pyplot.get_fignums() == []
