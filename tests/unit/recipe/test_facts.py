"""What a recipe key changes is marked on its field; lists of keys are derived from the marks."""

from pathlib import Path
from typing import Annotated

import pytest
import yaml
from pydantic import Field

from backbones.options.base import BackboneOptions, Count, Section
from backbones.options.effects import Effect, Identity, Role
from mimdet_cli.backbone_options import options_class
from mimdet_cli.recipe.allowed import keys_of
from mimdet_cli.recipe.facts import Facts, facts, identity_values, keys_with
from mimdet_cli.recipe.reading import flatten
from mimdet_cli.recipe.schema import CompletedBackbone, CompletedRecipe, Data, Recipe

BEFORE = yaml.safe_load(Path(__file__).with_name("keys_c73681b.yaml").read_text())
"""Every key of a recipe, and of our backbones' options, in c73681b."""
DATA_PATHS = (
    "data.root",
    "data.train_annotations",
    "data.train_images",
    "data.val_annotations",
    "data.val_images",
)
NOTHING = {
    *DATA_PATHS,
    "name",
    "data.workers",
    "train.evals",
    "train.saves",
    "train.keep",
    "train.log_every",
}
OURS = {name: options_class(name) for name in BEFORE["backbones"]}
LATER = Identity.COUNTED_UNLESS_DEFAULT


def every_key() -> dict[str, Facts]:
    """Keys of a recipe, and of each of our backbones as `NAME.OPTION`."""
    found = dict(facts())
    for name, options in OURS.items():
        found |= {f"{name}.{key}": fact for key, fact in facts(options).items()}
    return found


def completed(recipe: Recipe, options: BackboneOptions) -> CompletedRecipe:
    backbone = CompletedBackbone(name=recipe.backbone.name, options=options)
    return CompletedRecipe(**{**dict(recipe), "backbone": backbone})


def test_what_a_resumed_run_may_change_is_what_changes_nothing():
    assert {*keys_with(Effect.NOTHING)} == NOTHING


def test_an_evaluation_may_change_what_changes_evaluation():
    assert {*keys_with(Effect.EVALUATION)} == {
        "data.eval_short_side",
        "data.eval_max_side",
        "head.score",
        "head.nms",
        "head.detections",
        "head.rpn_pre_nms_test",
        "head.rpn_post_nms_test",
        "head.rpn_nms",
    }


def test_identity_counts_everything_but_what_changes_nothing_or_is_counted_apart():
    recipe = Recipe.model_validate({"data": {"crop": {}}})
    values = recipe.model_dump(mode="json")
    kept = dict(flatten(identity_values(completed(recipe, BackboneOptions()))))
    left_out = dict(flatten(values)).keys() - kept.keys()
    assert left_out - {*keys_with(LATER)} == {*NOTHING, "seed", "init.checkpoint"}
    assert kept.items() <= dict(flatten(values)).items()


def test_paths_lengths_and_weights_have_their_roles():
    assert keys_with(Role.DATA_PATH) == DATA_PATHS
    assert keys_with(Role.DATA_PATH, Data) == tuple(key.removeprefix("data.") for key in DATA_PATHS)
    assert keys_with(Role.LENGTH) == ("train.epochs", "train.steps")
    assert keys_with(Role.WEIGHTS) == ("init.weights", "init.more")


@pytest.mark.parametrize("name", OURS)
def test_sizes_are_those_of_backbone_images_and_batch(name):
    depth = ["backbone.depth"] if "depth" in OURS[name].model_fields else []
    sizes = ("backbone.width", *depth, "data.eval_short_side", "train.batch")
    assert keys_with(Role.SIZE, options=OURS[name]) == sizes


def test_every_key_has_its_facts_and_most_change_training():
    found = every_key()
    schema = Recipe.model_json_schema()
    sections = {"backbone", "head", "data", "train", "optimizer", "init"}
    assert {*keys_of(schema)} - sections <= found.keys()
    assert all(isinstance(fact, Facts) for fact in found.values())
    training = [key for key, fact in found.items() if fact.has(Effect.TRAINING)]
    assert len(training) >= 130
    assert {"head.rpn_nms", "backbone.name", "data.crop", "data.crop.size", "init.more"} < {*found}
    assert {"init.more.weights", "mimdet.train_ratio"} < {*training}
    assert found["mimdet.eval_ratio"].effect is Effect.EVALUATION
    assert found["head.rpn_nms"].has(Effect.EVALUATION)
    assert found["head.rpn_nms"].has(Effect.TRAINING)


def test_a_key_added_after_c73681b_counts_only_where_it_is_not_its_default():
    """A new field without the mark would rename every run made before it."""
    before = {*BEFORE["recipe"]}
    before |= {f"{name}.{key}" for name, keys in BEFORE["backbones"].items() for key in keys}
    assert len(before) >= 160
    found = every_key()
    added = {key for key in found if key not in before}
    sections = [f"{key}." for key in added if found[key].identity is LATER]
    unmarked = {key for key in added if found[key].identity is not LATER}
    assert {key for key in unmarked if not key.startswith(tuple(sections))} == set()
    assert {key for key in before & {*found} if found[key].identity is LATER} == set()


class Inner(Section):
    """A section in a section."""

    size: Count = 3
    """Known from the start."""
    depth: Annotated[Count, LATER] = 5
    """Added afterwards."""
    lines: Annotated[Count, Effect.NOTHING] = 1
    """Only told."""


class Options(BackboneOptions):
    """Options of some backbone."""

    width: Annotated[int, Field(ge=1), Role.SIZE] = 8
    """Known from the start."""
    inner: Annotated[Inner | None, LATER] = None
    """A section added afterwards."""
    many: tuple[Inner, ...] = ()
    """A list of sections."""
    quiet: Annotated[Inner, Effect.NOTHING] = Inner()
    """A section that changes nothing."""


def identity(**options) -> dict:
    return identity_values(completed(Recipe(), Options(**options)))["backbone"]


def test_a_section_that_was_added_counts_once_it_is_set():
    assert identity() == {"name": "mimdet", "width": 8, "many": []}
    assert identity(inner=Inner())["inner"] == {"size": 3}
    assert identity(inner=Inner(depth=6))["inner"] == {"size": 3, "depth": 6}


def test_items_of_a_list_of_sections_are_counted_by_their_own_marks():
    many = (Inner(lines=2), Inner(depth=6))
    assert identity(many=many)["many"] == [{"size": 3}, {"size": 3, "depth": 6}]


def test_a_backbone_says_itself_what_its_options_change():
    found = facts(options=Options)
    assert found["backbone.width"].has(Role.SIZE)
    assert found["backbone.inner.size"] == Facts()
    assert found["backbone.many.lines"].effect is Effect.NOTHING
    assert found["backbone.quiet.size"].effect is Effect.NOTHING
