"""Released detectors go through `mimdet convert` and `mimdet predict` as separate processes.

The frozen detections were computed by detectron2 and by the released MIMDet on uint8 images, so
that a PNG at its own size is their exact input. Tolerances, for fp32 sums in another order: boxes
0.02 px, scores 1e-3, ten pixels of a mask.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import test_mimdet_against_release as mimdet_release
import test_vitdet_against_detectron2 as detectron2
import torch
import yaml
from golden import read, whole
from PIL import Image
from safetensors.torch import load_file

from mimdet_cli.data.coco.rle import to_bitmap
from mimdet_cli.evaluation.paste import paste

BACKBONES = {
    "mimdet_convfeat": {"name": "mimdet", **mimdet_release.SMALL, "fill": "stem"},
    "vitdet": {"name": "vitdet", **detectron2.SMALL, "square": 352},
}
HEADS = {"mimdet_convfeat": mimdet_release.HEAD, "vitdet": detectron2.HEAD}
FORMATS = {"mimdet_convfeat": "mimdet_release", "vitdet": "detectron2_vitdet"}
# MIMDet's positions follow the batch's canvas, which is that of its larger image, the first.
CASES = [("mimdet_convfeat", 0), ("vitdet", 0), ("vitdet", 1)]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mimdet_cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def write_recipe(path: Path, name: str, height: int, width: int) -> Path:
    """The recipe of a frozen detector that leaves images of this size as they are."""
    data = {"eval_short_side": min(height, width), "eval_max_side": max(height, width)}
    recipe = {
        "backbone": BACKBONES[name],
        "head": HEADS[name].model_dump(),
        "data": {**data, "short_side": [210], "max_side": 330},
    }
    path.write_text(yaml.safe_dump(json.loads(json.dumps(recipe))))
    return path


@pytest.mark.parametrize(("name", "image"), CASES)
def test_a_released_detector_gives_its_frozen_detections_on_the_command_line(name, image, tmp_path):
    frozen = read(whole(f"mimdet_vitdet/{name}.det_eval.safetensors"))
    weights = read(whole(f"mimdet_vitdet/{name}.weights.safetensors"))
    pixels = frozen[f"in.image_{image}"]  # (3, h, w)
    height, width = pixels.shape[1:]
    torch.save({"model": weights, "iteration": 7}, tmp_path / "released.pth")
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(tmp_path / "image.png")
    recipe = write_recipe(tmp_path / "small.yaml", name, height, width)

    converted = run(
        "convert", tmp_path / "released.pth", "--recipe", recipe, "--out", tmp_path / "run",
        "--json",
    )  # fmt: skip
    assert converted.returncode == 0, converted.stderr
    report = json.loads(converted.stdout)
    assert (report["format"], report["classes"], report["share"]) == (FORMATS[name], 5, 1.0)
    predicted = run(
        "predict", tmp_path / "run", tmp_path / "image.png", "--out", tmp_path / "drawn",
        "--device", "cpu",
    )  # fmt: skip
    assert predicted.returncode == 0, predicted.stderr

    found = json.loads((tmp_path / "drawn/predictions.json").read_text())
    labels = frozen[f"det_{image}.classes"]
    assert [one["category_id"] - 1 for one in found] == labels.tolist()
    assert len(found) >= 10
    boxes = frozen[f"det_{image}.boxes"].numpy()
    ours = np.array([one["bbox"] for one in found])
    ours[:, 2:] += ours[:, :2]  # x, y, w, h -> corners
    assert np.abs(ours - boxes).max() <= 0.02
    scores = frozen[f"det_{image}.scores"].numpy()
    assert np.abs(np.array([one["score"] for one in found]) - scores).max() <= 1e-3
    masks = paste(frozen[f"det_{image}.mask_probs"][:, 0].numpy(), boxes, (height, width))
    for one, theirs in zip(found, masks, strict=True):
        assert (to_bitmap(one["segmentation"]) != to_bitmap(theirs)).sum() <= 10


def test_a_run_that_left_and_came_back_has_the_same_tensors_and_predicts_the_same(
    mimdet, trained, shapes, tmp_path
):
    left = tmp_path / "left.safetensors"
    outcome = mimdet("convert", trained, "--to", "detectron2", "--out", left)
    assert outcome.code == 0, outcome.err
    torch.save({"model": load_file(left)}, tmp_path / "left.pth")
    (tmp_path / "names.txt").write_text("circle\nrectangle\n\ntriangle\n")
    back = tmp_path / "back"
    outcome = mimdet(
        "convert", tmp_path / "left.pth", "--recipe", trained / "recipe.yaml", "--out", back,
        "--classes", tmp_path / "names.txt",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err

    before, after = (load_file(one / "last/model.safetensors") for one in (trained, back))
    assert before.keys() == after.keys()
    assert len(before) > 100
    assert all(torch.equal(before[key], after[key]) for key in before)
    for one, out in ((trained, "first"), (back, "second")):
        outcome = mimdet("predict", one, shapes / "val", "--out", tmp_path / out, "--device", "cpu")
        assert outcome.code == 0, outcome.err
    first, second = (
        (tmp_path / out / "predictions.json").read_bytes() for out in ("first", "second")
    )
    assert first == second
    scored = mimdet("eval", back, "--data", shapes, "--device", "cpu", "--json")
    assert scored.code == 0, scored.err
    assert (back / "eval/last/predictions.json").is_file()
