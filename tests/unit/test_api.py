"""The Python API does what the command line does, on images of every kind."""

import ast
import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import mimdet_cli
from heads.instances import Target
from mimdet_cli import api
from mimdet_cli.api import MimdetWarning
from mimdet_cli.data.images import read_image
from mimdet_cli.errors import DataError, RecipeError, WeightsError
from mimdet_cli.evaluation.prediction import Prediction


@pytest.fixture(scope="module")
def detector(trained):
    return mimdet_cli.load(trained)


@pytest.fixture(scope="module")
def photo(shapes):
    return sorted((shapes / "val").iterdir())[0]


def same(one: Prediction, other: Prediction) -> bool:
    arrays = zip(
        (one.boxes, one.scores, one.labels, one.masks),
        (other.boxes, other.scores, other.labels, other.masks),
        strict=True,
    )
    return all(np.array_equal(a, b) for a, b in arrays)


def test_import_loads_neither_torch_nor_numpy():
    code = "import sys, mimdet_cli; dir(mimdet_cli); print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_every_promised_name_is_there_and_others_are_not():
    assert len(mimdet_cli.API) >= 9
    for name in mimdet_cli.API:
        assert getattr(mimdet_cli, name) is not None
    assert set(dir(mimdet_cli)) == {*mimdet_cli.API, "__version__"}
    assert set(mimdet_cli.API) == set(api.__all__)
    typed = ast.parse(Path(mimdet_cli.__file__).read_text())
    names = {
        a.name
        for node in ast.walk(typed)
        if isinstance(node, ast.ImportFrom) and node.module == "mimdet_cli.api"
        for a in node.names
    }
    assert names == set(mimdet_cli.API)
    with pytest.raises(AttributeError, match="has no attribute 'predict'"):
        _ = mimdet_cli.predict


def test_every_kind_of_image_gives_the_same_detections(detector, photo):
    expected = detector.predict(photo, score=0.0)
    pixels = read_image(photo)
    assert len(expected) > 3
    assert expected.image.tolist() == pixels.tolist()
    with Image.open(photo) as opened:
        kinds = [
            str(photo),
            opened,
            pixels,
            torch.tensor(pixels).permute(2, 0, 1),
            np.asfortranarray(pixels),
        ]
        for kind in kinds:
            assert same(detector.predict(kind, score=0.0), expected)


def test_grey_images_count_as_three_equal_channels(detector, photo):
    with Image.open(photo) as opened:
        grey = np.asarray(opened.convert("L"))
    expected = detector.predict(np.stack([grey] * 3, axis=2), score=0.0)
    for kind in (grey, grey[..., None], torch.tensor(grey)[None], Image.fromarray(grey)):
        assert same(detector.predict(kind, score=0.0), expected)


@pytest.mark.parametrize(
    ("image", "what"),
    [
        (np.zeros((8, 8, 4), np.uint8), "an array (8, 8, 4) of uint8"),
        (np.zeros((8, 8, 3)), "an array (8, 8, 3) of float64"),
        (np.zeros((0, 8, 3), np.uint8), "an empty array (0, 8, 3)"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "a tensor (8, 8, 3) of torch.uint8"),
        (torch.zeros(3, 8, 8), "a tensor (3, 8, 8) of torch.float32"),
        (None, "a value of type NoneType"),
    ],
)
def test_value_that_is_not_an_image_is_refused_with_what_is(detector, image, what):
    with pytest.raises(DataError) as raised:
        detector.predict(image)
    assert str(raised.value) == (
        f"not an image: {what}.; at: predict(images); fix: give a path, a PIL image, an array "
        "(H, W, 3) of uint8 RGB, or a tensor (3, H, W) of uint8 RGB."
    )


def test_a_list_gives_a_list_in_its_order(detector, shapes):
    files = sorted((shapes / "val").iterdir())
    found = detector.predict(files, score=0.0)
    assert len(found) == 4
    alone = [detector.predict(file, score=0.0) for file in reversed(files)]
    assert all(same(one, other) for one, other in zip(found, reversed(alone), strict=True))


def test_predictions_are_those_of_the_commands(detector, trained, shapes, mimdet, tmp_path):
    files = sorted((shapes / "val").iterdir())
    assert mimdet("predict", trained, *files, "--out", tmp_path).code == 0
    saved = json.loads((tmp_path / "predictions.json").read_text())
    ours = [
        entry
        for image_id, file in enumerate(files, 1)
        for entry in detector.predict(file, score=0.0).to_coco(image_id)
    ]
    assert len(saved) > 20
    assert json.loads(json.dumps(ours)) == saved


def test_sampled_tokens_of_an_image_are_those_of_eval_whatever_comes_before(
    trained, shapes, mimdet, tmp_path
):
    half = {"backbone.eval_ratio": 0.5}
    detector = mimdet_cli.load(trained, overrides=half)
    files = sorted((shapes / "val").iterdir())
    forwards = [detector.predict(file, score=0.0) for file in files]
    backwards = [detector.predict(file, score=0.0) for file in reversed(files)]
    assert all(map(same, forwards, reversed(backwards)))
    out = tmp_path / "half"
    assert mimdet("eval", trained, "--ratio", "0.5", "--out", out).code == 0
    saved = json.loads((out / "predictions.json").read_text())
    ids = {entry["image_id"] for entry in saved}
    images = json.loads((shapes / "annotations" / "instances_val.json").read_text())["images"]
    ours = [
        entry
        for image in images
        for entry in detector.predict(shapes / "val" / image["file_name"], score=0.0).to_coco(
            image["id"]
        )
    ]
    assert len(ids) == 4
    assert json.loads(json.dumps(ours)) == saved


def test_score_keeps_the_better_detections_alone(detector, photo):
    everything = detector.predict(photo, score=0.0)
    middle = float(np.median(everything.scores))
    kept = detector.predict(photo, score=middle)
    assert 0 < len(kept) < len(everything)
    assert same(kept, everything.above(middle))
    assert kept.scores.min() >= middle
    assert kept.masks.shape == (len(kept), *kept.image.shape[:2])
    assert kept.class_names == [detector.class_names[label] for label in kept.labels]


def test_training_and_evaluation_from_python_are_those_of_the_command_line(
    tiny, trained, shapes, tmp_path
):
    report = mimdet_cli.train(tiny, data=shapes, out=tmp_path / "run")
    expected = (trained / "last" / "model.safetensors").read_bytes()
    assert (report.run / "last" / "model.safetensors").read_bytes() == expected
    again = mimdet_cli.evaluate(report.run, data=shapes)
    assert again.ap == report.scored.ap


def test_overrides_and_dictionaries_train_too(tiny, shapes, tmp_path):
    report = mimdet_cli.train(
        {"extends": str(tiny), "train": {"steps": 1, "evals": 0}},
        data=shapes,
        out=tmp_path / "run",
        overrides={"train.batch": 1},
    )
    assert (report.steps, report.scored) == (1, None)
    values = yaml.safe_load((report.run / "recipe.yaml").read_text())
    again = mimdet_cli.train(mimdet_cli.Recipe(**values), out=tmp_path / "again")
    weights = [run / "last" / "model.safetensors" for run in (report.run, again.run)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_bare_model_trains_and_detects(tiny):
    model = mimdet_cli.build_model(tiny, classes=["cat", "dog"])
    images = [torch.zeros(3, 64, 64, dtype=torch.uint8)]
    target = Target(torch.tensor([[4.0, 4, 40, 40]]), torch.tensor([1]))
    with pytest.raises(ValueError, match="training needs targets"):
        model.train()(images)
    losses = mimdet_cli.build_model(tiny, 2, overrides={"head.mask": False}).train()(
        images, [target]
    )
    assert {"rpn_objectness", "box_class"} <= set(losses)
    assert isinstance(model.eval()(images)[0].boxes, torch.Tensor)


def test_a_bare_model_starts_from_the_weights_of_its_recipe(tiny, trained):
    classes = ["circle", "rectangle", "triangle"]
    given = {"init.checkpoint": str(trained)}
    fresh = mimdet_cli.build_model(tiny, classes, overrides=given)
    loaded = mimdet_cli.build_model(tiny, classes, weights=True, overrides=given)
    expected = mimdet_cli.load(trained).model.state_dict()
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in expected.items())
    assert any(not torch.equal(fresh.state_dict()[key], value) for key, value in expected.items())


def test_a_run_that_is_not_there_is_an_error_of_weights(tmp_path):
    with pytest.raises(WeightsError, match="there is no run at"):
        mimdet_cli.load(tmp_path / "gone")


def test_jobs_are_quiet_but_for_warnings_and_tell_who_listens(tiny, own_shapes, tmp_path, capsys):
    file = own_shapes / "annotations" / "instances_train.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["bbox"][2:] = [0, 0]
    file.write_text(json.dumps(document))
    once = {"train.steps": 1, "train.evals": 0}
    with pytest.warns(MimdetWarning, match="annotations dropped because they have no area"):
        mimdet_cli.train(tiny, data=own_shapes, out=tmp_path / "quiet", overrides=once)
    assert capsys.readouterr() == ("", "")
    with warnings.catch_warnings():
        warnings.simplefilter("error", MimdetWarning)
        mimdet_cli.train(
            tiny,
            data=own_shapes,
            out=tmp_path / "saved",
            overrides={**once, "train.log_every": 1},
            progress=mimdet_cli.Console(),
        )
    err = capsys.readouterr().err
    assert "warning: train: annotations dropped because they have no area (1): annotation 1." in err
    assert "step 1/1" in err


def test_a_run_can_be_moved_before_it_is_loaded(trained, photo, detector, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(trained, moved)
    assert same(mimdet_cli.load(moved).predict(photo, score=0), detector.predict(photo, score=0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"evals": 0},
            "0 is not a valid number of evaluations.; at: evals; "
            "fix: give a whole number of at least 1.",
        ),
        (
            {"evals": 1.5},
            "1.5 is not a valid number of evaluations.; at: evals; "
            "fix: give a whole number of at least 1.",
        ),
        (
            {"ratio": "0.5"},
            "'0.5' is not a valid token ratio.; at: ratio; "
            "fix: give a number greater than 0 and at most 1.",
        ),
        (
            {"ratio": 0.5, "overrides": {"backbone": {"eval_ratio": 0.25}}},
            "the ratio 0.5 and an override both set 'backbone.eval_ratio'.; at: ratio; "
            "fix: omit one of them.",
        ),
        (
            {"overrides": {"backbone.eval_rati": 0.5}},
            "'backbone.eval_rati' is not a recipe key.; at: overrides; "
            "fix: did you mean 'eval_ratio'?",
        ),
        (
            {"overrides": ["seed=1"]},
            "expected a dictionary of keys and values, not list.; at: overrides; "
            "fix: give a dictionary, such as {'train.batch': 8}.",
        ),
        (
            {"device": "gpu"},
            "'gpu' is not a device.; at: device; fix: use cpu, cuda, cuda:1 or mps.",
        ),
    ],
)
def test_nonsense_is_refused_in_terms_of_python(trained, shapes, given, message):
    with pytest.raises(RecipeError) as raised:
        mimdet_cli.evaluate(trained, data=shapes, **given)
    assert str(raised.value) == message


def test_overrides_may_be_paths_scalars_of_numpy_and_sections(trained, shapes, photo):
    given = {"data": {"root": shapes}, "head.score": np.float32(0.25)}
    detector = mimdet_cli.load(trained, overrides=given)
    assert (detector.recipe.data.root, detector.recipe.head.score) == (str(shapes), 0.25)
    assert detector.predict(photo, score=0).scores.min(initial=1) >= 0.25


@pytest.mark.parametrize("score", [-0.1, 2, float("nan"), None, "0.5"])
def test_a_score_is_a_number_from_0_to_1(detector, photo, score):
    with pytest.raises(DataError, match="is not a number from 0 to 1"):
        detector.predict(photo, score=score)


@pytest.mark.parametrize("classes", [0, -3, [], ["a", "a"], "person"])
def test_classes_are_a_number_or_different_names(tiny, classes):
    with pytest.raises(
        RecipeError, match="is neither a number of classes nor a list of class names"
    ):
        mimdet_cli.build_model(tiny, classes)


def test_random_numbers_of_the_program_go_on_as_if_nothing_were_asked(trained, tiny, photo):
    torch.manual_seed(7)
    expected = torch.rand(4)
    torch.manual_seed(7)
    half = mimdet_cli.load(trained, overrides={"backbone.eval_ratio": 0.5})
    half.predict(photo)
    mimdet_cli.build_model(tiny, 2)
    assert torch.equal(torch.rand(4), expected)


def test_a_prediction_keeps_its_image_when_the_program_reuses_its_own(detector, photo):
    frame = read_image(photo).copy()
    found = detector.predict(frame, score=0)
    before = frame.copy()
    frame[:] = 255
    assert np.array_equal(found.image, before)


def test_a_detector_says_in_a_line_what_it_is(detector, trained):
    assert repr(detector) == f"<Detector: mimdet, 3 classes, {trained / 'last'}, cpu>"


def test_a_warning_points_to_the_program(tiny, own_shapes, tmp_path):
    file = own_shapes / "annotations" / "instances_train.json"
    document = json.loads(file.read_text())
    document["annotations"][0]["bbox"][2:] = [0, 0]
    file.write_text(json.dumps(document))
    with pytest.warns(MimdetWarning) as caught:
        mimdet_cli.train(tiny, data=own_shapes, out=tmp_path / "run", overrides={"train.steps": 1})
    ours = [one for one in caught if one.category is MimdetWarning]
    assert {Path(one.filename).name for one in ours} == {"test_api.py"}
