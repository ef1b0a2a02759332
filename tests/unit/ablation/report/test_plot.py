"""What the plot shows over which axis."""

import pytest
from ablation_folders import Folder

from mimdet_cli.ablation.report.files import write
from mimdet_cli.ablation.report.plot import _panels


def test_plot_may_be_over_an_accuracy(fine, summary_of):
    ours, theirs = _panels(summary_of(fine), None)
    assert ours.title == "box AP over mask AR100"
    assert [(one.x, one.mean) for one in theirs.points] == [(50.0, 40.0)]
    assert len(ours.points) == 2
    assert write(summary_of(fine), fine.out)[-1].read_bytes().startswith(b"\x89PNG")


RATIO = {
    "axes": {"backbone.train_ratio": [0.5, 1]},
    "evaluate": {"axes": {"backbone.eval_ratio": [0.5, 1]}},
    "plot": "step_s",
    "paper": {"train_ratio=0.5, eval_ratio=0.5": {"box_ap": 49.5}},
}
RATIOS = [
    f"train_ratio={train}, eval_ratio={evaluated}" for train in (0.5, 1) for evaluated in (0.5, 1)
]
FAMILIES = {"plot": "parameters", "paper": {"ViT-T": {"box_ap": 40.2, "params_m": 26.1}}}


@pytest.fixture
def drawn(tmp_path, summary_of):
    """The summary of a made ablation whose report is written."""

    def make(ablation, labels, scored=True):
        made = Folder(tmp_path / "out", ablation)
        made.plan(labels, seeds=(0, 1))
        for at, label in enumerate(labels if scored else []):
            for seed in (0, 1):
                made.score(label, 2.0 + at / 4, seed, parameters=10 ** (6 + at))
        summary = summary_of(made)
        path = write(summary, made.out)[-1]
        assert path.read_bytes().startswith(b"\x89PNG")
        return summary

    return make


def test_plot_has_a_line_for_each_training_over_the_evaluated_key(drawn):
    panels = _panels(drawn(RATIO, RATIOS), "backbone.eval_ratio")
    assert [(one.title, one.ours) for one in panels] == [
        ("box AP over eval_ratio", True),
        ("box AP over step time at eval_ratio=0.5", True),
        ("the paper's box AP over eval_ratio", False),
    ]
    assert [(one.group, one.x) for one in panels[0].points] == [
        ("train_ratio=0.5", 0.5),
        ("train_ratio=0.5", 1.0),
        ("train_ratio=1", 0.5),
        ("train_ratio=1", 1.0),
    ]
    assert [one.mean for one in panels[2].points] == [49.5]


def test_plot_over_a_metric_has_a_line_for_each_family(drawn):
    labels = ["ViT-T", "ViT-S", "ViT-Adapter-T", "ViT-Adapter-S", "Swin-T"]
    ours, theirs = _panels(drawn(FAMILIES, labels), None)
    assert [(one.group, one.name) for one in ours.points] == [
        ("ViT", "T"),
        ("ViT", "S"),
        ("ViT-Adapter", "T"),
        ("ViT-Adapter", "S"),
        ("Swin-T", ""),
    ]
    assert [one.x for one in ours.points] == [1, 10, 100, 1000, 10000]
    assert [(one.x, one.mean) for one in theirs.points] == [(26.1, 40.2)]


@pytest.mark.parametrize("ablation", [RATIO, FAMILIES, {}], ids=["evaluated", "metric", "list"])
def test_plot_is_drawn_before_anything_is_scored(drawn, ablation):
    drawn(ablation, RATIOS, scored=False)


def test_plot_without_axes_lists_the_cells(drawn):
    drawn({"paper": {"a": {"box_ap": 40.0}}}, ["a", "b"])
