"""Cells, runs and their names, on the shipped ablations and on small ones."""

import shutil
from pathlib import Path

import pytest

from mimdet_cli.ablation.definition import Request, shipped_ablations
from mimdet_cli.ablation.plan.make import make_plan
from mimdet_cli.errors import MimdetError, RecipeError

TWO = "axes: {backbone.train_ratio: [0.5, 1]}\n"


def labels(plan):
    return [cell.label for cell in plan.cells]


def shared(plan):
    """Labels of the trainings by the run that they share."""
    users = {}
    for cell in plan.cells:
        for name in cell.runs.values():
            users.setdefault(name, set()).add(cell.training)
    return [sorted(one) for one in users.values() if len(one) > 1]


@pytest.mark.parametrize("name", shipped_ablations())
def test_every_cell_of_a_shipped_ablation_validates(name, tmp_path):
    plan = make_plan(Request(name, out=tmp_path))
    assert plan.left_out == {}
    assert len(plan.cells) >= 2
    assert len(plan.runs) <= len(plan.cells) * len(plan.definition.ablation.seeds)


def test_training_ratios_are_evaluated_at_their_own_ratio_and_above(tmp_path):
    plan = make_plan(Request("sampling-ratio", base="demo", out=tmp_path))
    ratios = (0.125, 0.25, 0.5, 0.75, 1)
    assert labels(plan) == [
        f"train_ratio={trained:g}, eval_ratio={seen:g}"
        for trained in ratios
        for seen in ratios
        if seen >= trained
    ]
    assert len(plan.runs) == 5 * 3


def test_axes_are_combined_in_order_and_variants_stand_beside(planned):
    plan = planned("""
        axes: {backbone.p5: [max, mean], train.clip: [1.0, null]}
        variants: {stem: {backbone.fill: stem}}
    """)
    assert labels(plan) == [
        "p5=max, clip=1", "p5=max, clip=null", "p5=mean, clip=1", "p5=mean, clip=null",
        "stem",
    ]  # fmt: skip


def test_nothing_varied_is_the_base_alone(planned):
    assert labels(planned("")) == ["base"]


def test_evaluations_of_one_training_are_called_after_themselves(planned):
    plan = planned("evaluate: {axes: {backbone.eval_ratio: [0.5, 1]}}")
    assert labels(plan) == ["eval_ratio=0.5", "eval_ratio=1"]
    assert len(plan.runs) == 1
    assert [scoring.settings for scoring in plan.runs[0].scorings] == [
        {"backbone.eval_ratio": 0.5}, {},
    ]  # fmt: skip


def test_equal_recipes_share_a_run(planned):
    plan = planned(TWO + "variants: {half: {backbone.train_ratio: 0.5}}")
    assert shared(plan) == [["half", "train_ratio=0.5"]]
    assert len(plan.runs) == 2


def test_seeds_come_one_after_the_other_so_that_a_first_table_is_early(planned):
    plan = planned(TWO, seeds=2)
    assert [(run.label, run.seed) for run in plan.runs] == [
        ("train_ratio=0.5", 0), ("train_ratio=1", 0), ("train_ratio=0.5", 1), ("train_ratio=1", 1),
    ]  # fmt: skip


def test_settings_lie_over_each_other_in_order(planned):
    plan = planned(
        "set: {train.batch: 4, train.clip: 2.0}\nvariants: {a: {train.clip: 3.0}, b: {}}",
        overrides=("train.batch=8", "head.score=0.1"),
    )
    trains = [run.recipe.recipe.train for run in plan.runs]
    assert [(one.batch, one.clip) for one in trains] == [(8, 3.0), (8, 2.0)]
    assert (trains[0].evals, trains[0].saves) == (0, 1)  # it is scored once trained


def test_run_starts_from_the_run_of_its_own_seed(planned):
    plan = planned("variants: {tuned: {after: first}, first: {}}", seeds=2)
    assert [run.label for run in plan.runs] == ["first", "tuned"] * 2
    for first, tuned in (plan.runs[:2], plan.runs[2:]):
        assert tuned.parent == first.hash
        checkpoint = tuned.recipe.recipe.init.checkpoint
        assert checkpoint == str(Path("out/runs") / first.hash / "run/last")


def names(plan):
    return [run.hash for run in plan.runs]


def test_name_of_a_run_is_the_same_wherever_its_data_and_its_folder_are(planned, own_shapes):
    text = "variants: {first: {}, tuned: {after: first, train.clip: 1.0}}"
    moved = planned(text, data=own_shapes, out=Path("else"), overrides=("data.workers=1", "name=x"))
    assert names(planned(text)) == names(moved)


def test_name_of_a_run_changes_with_recipe_seed_data_and_start(planned, own_shapes):
    (first,) = names(planned(""))
    (clipped,) = names(planned("", overrides=("train.clip=1",)))
    annotations = own_shapes / "annotations" / "instances_val.json"
    annotations.write_text(annotations.read_text() + "\n")
    (other,) = names(planned("", data=own_shapes))
    _, seed = names(planned("", seeds=2))
    _, tuned = names(planned("variants: {first: {}, tuned: {after: first}}"))
    assert len({first, clipped, other, seed, tuned}) == 5


def test_added_backbone_and_recipe_are_trainings_more(planned, tiny):
    shutil.copy(tiny, "wide.yaml")
    plan = planned("set: {backbone.fill: mask}", added=("vit_adapter", "wide.yaml"))
    assert labels(plan) == ["base", "vit_adapter", "wide"]
    assert [run.recipe.recipe.backbone.name for run in plan.runs] == [
        "mimdet", "vit_adapter", "mimdet",
    ]  # fmt: skip


def refused(planned, text, **changes):
    with pytest.raises(MimdetError) as caught:
        planned(text, **changes)
    return [(one.what, one.where, one.fix) for one in caught.value.each()]


def test_mistake_of_several_cells_is_reported_once_with_their_names(planned):
    text = "axes: {backbone.trian_ratio: [0.5, 1, 0.25]}\n"
    assert refused(planned, text) == [
        (
            "'backbone.trian_ratio' is not a recipe key.",
            "mine.yaml, line 3; in 'trian_ratio=0.5', 'trian_ratio=1' and 1 more",
            "did you mean 'train_ratio'?",
        )
    ]


def test_value_that_no_cell_accepts_is_reported_with_what_is_allowed(planned):
    assert refused(planned, "axes: {backbone.train_ratio: [0.5, 1.5]}\n") == [
        (
            "'backbone.train_ratio' cannot be 1.5.",
            "mine.yaml, line 3; in 'train_ratio=1.5'",
            "give a number greater than 0 and at most 1.",
        )
    ]


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        (
            "axes: {train.clip: [1.0, 1.0]}",
            "two trainings are called 'clip=1'.",
            "list each value of an axis once, and give every variant its own name.",
        ),
        (
            "default: train_ratio=0.55\n" + TWO,
            "there is no cell 'train_ratio=0.55'.",
            "did you mean 'train_ratio=0.5'?",
        ),
        (
            "paper: {train_ratio=2: {box_ap: 1}}\n" + TWO,
            "there is no cell 'train_ratio=2'.",
            "did you mean 'train_ratio=1'?",
        ),
        (
            "claims: [{says: so, rule: {kind: rises, cells: [train_ratio=0.5, nothing]}}]\n" + TWO,
            "there is no cell 'nothing'.",
            "give one of 'train_ratio=0.5', 'train_ratio=1'.",
        ),
        (
            "variants: {first: {}, second: {after: fist}}",
            "there is no training 'fist'.",
            "did you mean 'first'?",
        ),
        (
            "variants: {a: {after: b}, b: {after: a}}",
            "a training cannot start from itself: 'a' -> 'b' -> 'a'.",
            "omit `after` in one of them.",
        ),
        (
            "variants: {a: {seed: 3}}",
            "an ablation cannot set 'seed': every training runs once per seed.",
            "list the seeds as `seeds:` in its file, or give their number with --seeds.",
        ),
        (
            "variants: {a: {recipe: base_50pctt}}",
            "there is no recipe 'base_50pctt'.",
            "did you mean 'base_50pct'?",
        ),
        (
            "evaluate: {axes: {train.batch: [2, 4]}}",
            "'train.batch' changes what is trained, so an evaluation cannot change it.",
            "make it a training: move it to `axes` or `variants` outside `evaluate`.",
        ),
        (
            "evaluate: {axes: {backbone.decoder_layers: [1, 2]}}",
            "'backbone.decoder_layers' changes what is trained, so an evaluation cannot change it.",
            "make it a training: move it to `axes` or `variants` outside `evaluate`.",
        ),
        (  # `eval_ratio` beside it is marked as changing evaluation, so it is not refused
            "evaluate: {variants: {a: {backbone.eval_ratio: 0.5, backbone.decoder_layers: 2}}}",
            "'backbone.decoder_layers' changes what is trained, so an evaluation cannot change it.",
            "make it a training: move it to `axes` or `variants` outside `evaluate`.",
        ),
        (
            "evaluate: {variants: {often: {evals: 4}}}",
            "4 evaluations would be identical: the backbone sees every token (eval_ratio 1).",
            "omit `evals`, or set backbone.eval_ratio below 1 with it.",
        ),
        (
            "evaluate: {axes: {backbone.eval_ratio: [1]}, at_least: {backbone.eval_ratio: p5}}",
            "'p5' is not set; `at_least` compares numbers.",
            "give another key.",
        ),
    ],
)
def test_ablation_that_makes_no_sense_is_refused(planned, text, what, fix):
    (found,) = refused(planned, text)
    assert (found[0], found[2]) == (what, fix)
    assert found[1].startswith("mine.yaml")


def test_key_that_is_varied_cannot_be_set(planned):
    assert refused(planned, TWO, overrides=("backbone.train_ratio=1",)) == [
        (
            "'mine' varies 'backbone.train_ratio', so it cannot be set.",
            "--set backbone.train_ratio=1",
            "omit it, or copy the ablation to a file and change its values there.",
        )
    ]


def test_unknown_backbone_to_add_names_its_neighbour(planned):
    assert refused(planned, TWO, added=("vit_adaptor",)) == [
        (
            "'vit_adaptor' is neither a registered backbone nor a recipe.",
            "--add vit_adaptor",
            "did you mean 'vit_adapter'?",
        )
    ]


def test_unknown_run_is_refused(planned):
    with pytest.raises(RecipeError, match="has no run 'abc'"):
        planned(TWO).run("abc")
