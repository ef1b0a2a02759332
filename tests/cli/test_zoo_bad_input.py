"""What the backbones, the head and the data cannot do together: refused before training.

Each test holds the whole of what is said. A value is refused with its key, the place that set it,
and the fix; of a contradiction, every place is named.
"""

import pytest
from detectors import detector_of
from zoo import SMALL

REST = """
head: {norm: none, channels: 16, fc_channels: 32, anchor_sizes: [16, 32, 64, 96, 128]}
data: {short_side: [64], max_side: 128, eval_short_side: 64, eval_max_side: 128, workers: 0}
train: {steps: 1, batch: 2}
"""
RANGE = "  fix: give a number greater than 0 and at most 1."


READ = (  # what is said before the detector is built
    "train: 8 images (7 with objects), 41 objects, 3 classes",
    "val: 4 images (3 with objects), 13 objects, 3 classes",
)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write the recipe of a tiny backbone into the working folder."""
    monkeypatch.chdir(tmp_path)

    def recipe(backbone):
        options = "".join(f"  {key}: {value}\n" for key, value in SMALL[backbone].items())
        (tmp_path / "mine.yaml").write_text(f"backbone:\n  name: {backbone}\n{options}{REST}")
        return "mine.yaml"

    return recipe


@pytest.fixture
def refused(write, mimdet, shapes, tmp_path):
    """Train a tiny backbone with `--set` values, and compare all that is said with `lines`."""

    def check(backbone, sets, *lines, log=()):
        changes = [word for one in sets for word in ("--set", one)]
        outcome = mimdet("train", write(backbone), "--data", shapes, "--out", "run", *changes)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.splitlines() == [*log, *lines]
        assert not (tmp_path / "run").exists()

    return check


def line(backbone, key):
    """Where the recipe of a backbone sets one of its options."""
    return f"mine.yaml, line {list(SMALL[backbone]).index(key) + 3}"


@pytest.mark.parametrize("backbone", SMALL)
def test_without_the_mistakes_below_a_detector_is_built(write, backbone):
    detector_of(write(backbone))


def test_window_larger_than_the_grid_of_vitdet(refused):
    refused(
        "vitdet", ["backbone.window=9"],
        "error: 'backbone.window' 9 is larger than the grid of 8 x 8 tokens: use at most 8.",
        "  at:  --set backbone.window=9",
    )  # fmt: skip


def test_window_larger_than_the_grid_of_li_2021(refused):
    refused(
        "vit_fpn", ["backbone.window=16"],
        "error: 'backbone.window' 16 does not divide 'backbone.grid' 8, as the form li2021 needs: "
        "use one of 2, 4, 8.",
        f"  at:  --set backbone.window=16; {line('vit_fpn', 'grid')}",
    )  # fmt: skip


def test_window_larger_than_the_grid_of_mimdet(refused):
    sets = ["backbone.input=windows", "backbone.train_ratio=1.0", "backbone.window=9"]
    refused(
        "mimdet", sets,
        "error: 'backbone.window' 9 is larger than the grid of 8 x 8 tokens ('backbone.grid'): "
        "use at most 8.",
        f"  at:  --set backbone.window=9; {line('mimdet', 'grid')}",
    )  # fmt: skip


def test_interactions_that_do_not_divide_the_depth(refused):
    refused(
        "vit_adapter", ["backbone.interactions=3"],
        "error: 'backbone.interactions' 3 does not divide the depth 4: use one of 0, 1, 2, 4.",
        "  at:  --set backbone.interactions=3",
    )  # fmt: skip


@pytest.mark.parametrize("ratio", ["0", "-0.5", "1.01"])
@pytest.mark.parametrize("key", ["backbone.train_ratio", "backbone.eval_ratio"])
def test_ratio_of_nothing_or_of_more_than_all(refused, key, ratio):
    refused(
        "mimdet", [f"{key}={ratio}"],
        f"error: '{key}' cannot be {ratio}.", f"  at:  --set {key}={ratio}", RANGE,
    )  # fmt: skip


def test_grid_sampling_with_a_ratio_that_is_no_pattern(refused):
    refused(
        "mimdet", ["backbone.sampling=grid", "backbone.train_ratio=0.4"],
        "error: 'backbone.train_ratio' 0.4 has no regular pattern: with 'backbone.sampling' grid "
        "use one of 0.125, 0.25, 0.5, 0.75, 1.",
        "  at:  --set backbone.train_ratio=0.4; --set backbone.sampling=grid",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "near"),
    [
        ("swin_tiny", "swin_tiny_patch4_window7_224"),
        (
            "swin_tinny_patch4_window7_224",
            "swin_tiny_patch4_window7_224, swin_base_patch4_window7_224, "
            "swin_small_patch4_window7_224",
        ),
        ("convnext_ato.in1k", "convnext_atto, convnextv2_atto, convnext_nano"),
    ],
)
def test_name_that_timm_does_not_know(refused, model, near):
    refused(
        "timm_fpn", [f"backbone.model={model}"],
        f"error: 'backbone.model' cannot be '{model}': timm has no model of that name; the nearest "
        f"are {near}.",
        f"  at:  --set backbone.model={model}",
    )  # fmt: skip


def test_cascade_with_mmdetections_rules(refused):
    refused(
        "vitdet", ["head.cascade=true", "head.rules=mmdet"],
        "error: head.cascade follows detectron2 and cannot be combined with head.rules: mmdet, "
        "whose cascade differs (three mask heads, IoU losses); set rules to detectron2.",
        "  at:  --set head.cascade=true; --set head.rules=mmdet",
    )  # fmt: skip


def test_crop_with_jitter(refused):
    refused(
        "vitdet", ["data.jitter.size=128", "data.crop.probability=0.5"],
        "error: data.crop and data.jitter cannot be combined; set one to null.",
        "  at:  --set data.crop.probability=0.5; --set data.jitter.size=128",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("backbone", "by"), [("vitdet", "'backbone.square'"), ("vit_fpn", "the backbone's square")]
)
@pytest.mark.parametrize(
    ("key", "others"),
    [
        ("data.eval_max_side", []),
        ("data.max_side", []),
        ("data.largest", ["data.max_side=300"]),
        ("data.jitter.size", ["data.max_side=300"]),
    ],
)
def test_images_larger_than_the_square_of_the_backbone(refused, backbone, by, key, others):
    refused(
        backbone, [*others, f"{key}=192"],
        f"error: '{key}' 192 is larger than the square of 128 pixels that the backbone "
        f"'{backbone}' pads images to.",
        f"  at:  {key}",
        f"  fix: set '{key}' to at most 128, or increase {by}.",
        log=READ,
    )  # fmt: skip


def test_sizes_of_training_and_evaluation_are_refused_together(refused):
    refused(
        "vitdet", ["data.eval_max_side=1333", "data.jitter.size=1024"],
        *(
            text
            for key, size in (("data.eval_max_side", 1333), ("data.jitter.size", 1024))
            for text in (
                f"error: '{key}' {size} is larger than the square of 128 pixels that the backbone "
                "'vitdet' pads images to.",
                f"  at:  {key}",
                f"  fix: set '{key}' to at most 128, or increase 'backbone.square'.",
            )
        ),
        log=READ,
    )  # fmt: skip


def test_pattern_that_freezes_nothing(refused):
    refused(
        "vitdet", ["train.freeze=[backbone\\.block\\..*]"],
        "error: 'backbone\\.block\\..*' matches no parameter.",
        "  at:  train.freeze",
        "  fix: give full parameter names such as 'backbone.blocks.3.norm2.bias'; `.*` matches "
        "anything.",
        log=READ,
    )  # fmt: skip


def test_several_wrong_options_of_a_backbone_are_all_listed(refused):
    sets = ["attention=deformabel", "points=0", "wndow=3", "drop_path=1"]
    refused(
        "vit_adapter", [f"backbone.{one}" for one in sets],
        "error: 'backbone.attention' cannot be 'deformabel'.",
        "  at:  --set backbone.attention=deformabel",
        "  fix: did you mean 'deformable'? Give one of deformable, global, cswin, pale.",
        "error: 'backbone.drop_path' cannot be 1.", "  at:  --set backbone.drop_path=1",
        "  fix: give a number of at least 0 and less than 1.",
        "error: 'backbone.points' cannot be 0.", "  at:  --set backbone.points=0",
        "  fix: give a whole number of at least 1.",
        "error: 'backbone.wndow' is not a recipe key.", "  at:  --set backbone.wndow=3",
        "  fix: did you mean 'window'?",
    )  # fmt: skip


def test_several_contradictions_of_a_backbone_are_all_listed(refused):
    refused(
        "vitdet", ["backbone.heads=5", "backbone.window=9", "backbone.global_blocks=[4]"],
        "error: 'backbone.width' 32 is not divisible by 'backbone.heads' 5: use one of 1, 2, 4, 8, "
        "16, 32; 'backbone.window' 9 is larger than the grid of 8 x 8 tokens: use at most 8; "
        "'backbone.global_blocks' names block 4, the last one of a depth of 4 is 3.",
        f"  at:  {line('vitdet', 'width')}; --set backbone.heads=5; --set backbone.window=9; "
        "--set backbone.global_blocks=[4]",
    )  # fmt: skip


def test_several_wrong_values_of_several_sections_are_all_listed(refused):
    refused(
        "vitdet", ["optimizer.lr=0", "head.norm=BN", "data.flip=2", "train.batch=0"],
        "error: 'data.flip' cannot be 2.", "  at:  --set data.flip=2",
        "  fix: give a number from 0 to 1.",
        "error: 'head.norm' cannot be 'BN'.", "  at:  --set head.norm=BN",
        "  fix: did you mean 'bn'? Give one of bn, syncbn, ln, gn, none.",
        "error: 'optimizer.lr' cannot be 0.", "  at:  --set optimizer.lr=0",
        "  fix: give a number greater than 0.",
        "error: 'train.batch' cannot be 0.", "  at:  --set train.batch=0",
        "  fix: give a whole number of at least 1.",
    )  # fmt: skip
