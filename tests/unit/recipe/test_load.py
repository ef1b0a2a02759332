"""Files, bases and overrides become one recipe that knows where each value came from."""

from pathlib import Path

import pytest

from mimdet_cli.errors import RecipeError
from mimdet_cli.recipe.load import dump, load_recipe
from mimdet_cli.recipe.schema import Recipe


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def message(name: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    return "\n".join(str(error) for error in caught.value.each())


def test_origin_of_every_value_is_known(here):
    write("base.yaml", "optimizer:\n  lr: 1.0e-3\n  eps: 1.0e-9\ntrain: {steps: 5}\n")
    write("mine.yaml", "extends: base.yaml\noptimizer:\n  lr: 2.0e-3\n")
    resolved = load_recipe("mine.yaml", ["train.batch=4"], data="coco", seed=7)
    assert {
        key: str(resolved.origin(key))
        for key in ("optimizer.lr", "optimizer.eps", "optimizer.gamma", "train.steps")
    } == {
        "optimizer.lr": "mine.yaml, line 3",
        "optimizer.eps": "base.yaml, line 3",
        "optimizer.gamma": "default",
        "train.steps": "base.yaml, line 4",
    }
    assert str(resolved.origin("train.batch")) == "--set train.batch=4"
    assert str(resolved.origin("data.root")) == "--data coco"
    assert str(resolved.origin("seed")) == "--seed 7"
    assert resolved.recipe.optimizer.lr == 2e-3
    assert resolved.recipe.data.root == "coco"


def test_sections_are_merged_and_lists_are_replaced(here):
    write("a.yaml", "data: {short_side: [1, 2, 3], flip: 0.25}\ntrain: {steps: 5}\n")
    write("b.yaml", "data: {short_side: [9]}\n")
    write("mine.yaml", "extends: [a.yaml, b.yaml]\ndata: {max_side: 77}\n")
    data = load_recipe("mine.yaml").recipe.data
    assert (data.short_side, data.flip, data.max_side) == ((9,), 0.25, 77)


def test_recipe_is_called_as_its_file_unless_it_says_otherwise(here):
    write("mine.yaml", "train: {steps: 5}\n")
    assert load_recipe("mine.yaml").recipe.name == "mine"
    assert load_recipe("mine.yaml", ["name=other"]).recipe.name == "other"


def test_data_option_takes_a_folder_whose_name_is_a_number(here):
    write("mine.yaml", "train: {steps: 5}\n")
    assert load_recipe("mine.yaml", data="2017").recipe.data.root == "2017"


@pytest.mark.parametrize("name", ["base_50pct", "base_50pct.yaml", "recipes/base_50pct.yaml"])
def test_shipped_recipe_is_found_in_any_form_from_anywhere(here, name):
    assert load_recipe(name).recipe.name == "base_50pct"


def test_local_file_wins_over_a_shipped_one(here):
    write("recipes/base_50pct.yaml", "train: {steps: 5}\n")
    assert load_recipe("recipes/base_50pct.yaml").recipe.train.steps == 5
    assert load_recipe("base_50pct").recipe.train.steps is None


def test_file_may_extend_a_shipped_recipe_by_name(here):
    write("mine.yaml", "extends: base_25pct\ntrain: {batch: 16}\n")
    resolved = load_recipe("mine.yaml")
    assert resolved.recipe.backbone.values["train_ratio"] == 0.25
    assert resolved.recipe.train.batch == 16


def test_options_that_a_base_sets_for_another_optimizer_are_undone_as_the_error_says(here):
    write("base.yaml", "optimizer: {betas: [0.8, 0.9], eps: 1e-6}\n")
    write("mine.yaml", "extends: base.yaml\noptimizer: {name: sgd}\n")
    assert "set optimizer.betas to [0.9, 0.999] and optimizer.eps to 1e-08" in message("mine.yaml")
    sgd = "extends: base.yaml\noptimizer: {name: sgd, betas: [0.9, 0.999], eps: 1e-08}\n"
    write("mine.yaml", sgd)
    assert load_recipe("mine.yaml").recipe.optimizer.name == "sgd"


def test_number_in_exponent_form_is_a_number_without_a_point(here):
    write("mine.yaml", "train: {steps: 5}\noptimizer: {lr: 1e-4}\nbackbone: {norm_eps: 1E-6}\n")
    recipe = load_recipe("mine.yaml").recipe
    assert recipe.optimizer.lr == 1e-4
    assert recipe.backbone.values == {"norm_eps": 1e-6}


@pytest.mark.parametrize("name", ["demo", "base_50pct", "large_50pct"])
def test_dumped_recipe_loads_to_an_equal_one(here, name):
    recipe = load_recipe(name, ["init.weights='1e-4'", "data.root='null'"]).recipe
    write("dumped.yaml", dump(recipe))
    assert load_recipe("dumped.yaml").recipe == recipe


def test_dumped_default_recipe_loads_to_an_equal_one(here):
    write("dumped.yaml", dump(Recipe()))
    assert load_recipe("dumped.yaml").recipe == Recipe()


NO_SECTIONS = "the file has no recipe sections."


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("a: [1\nb: 2\n", "this is not valid YAML: expected ',' or ']', but got ':'.", 2),
        ("seed: 1\nseed: 2\n", "'seed' is set twice.", 2),
        ("seed: 1\n1: 2\n", "a key is not plain text.", 2),
        ("seed: &s 1\ndata: &d {flip: 1}\nhead: *d\n", "YAML aliases are not supported.", 2),
        ("a: &a [*a]\n", "YAML aliases are not supported.", 1),
        ("a: !!python/name:os.system\n", "this is not valid YAML: could not determine", 1),
        ("extends: x.yaml\n", "'x.yaml' extends itself.", 1),
        ("seed: 1\nextends: gone.yaml\n", "there is no file 'gone.yaml' to extend.", 2),
        ("extends: 3\n", "'extends' must be a file name or a list of file names.", 1),
        ("", NO_SECTIONS, None),
        ("- 1\n", NO_SECTIONS, None),
    ],
)
def test_file_that_cannot_be_read_is_refused_with_its_line(here, text, what, line):
    write("x.yaml", text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("x.yaml")
    (error,) = caught.value.each()
    assert error.what.startswith(what)
    assert error.where == (f"x.yaml, line {line}" if line else "x.yaml")


def test_extends_goes_two_levels_deep_and_no_deeper(here):
    write("a.yaml", "train: {steps: 5}\n")
    for name, base in (("b", "a"), ("c", "b"), ("d", "c")):
        write(f"{name}.yaml", f"extends: {base}.yaml\n")
    assert load_recipe("c.yaml").recipe.train.steps == 5
    assert message("d.yaml") == (
        "recipes extend each other more than 2 levels deep.; at: b.yaml, line 1; "
        "fix: merge two of these files: d.yaml, c.yaml, b.yaml."
    )


def test_circle_through_another_file_is_refused(here):
    write("a.yaml", "extends: b.yaml\n")
    write("b.yaml", "extends: a.yaml\n")
    assert message("a.yaml").startswith("'a.yaml' extends itself.; at: b.yaml, line 1")


def test_file_that_is_not_text_is_refused(here):
    (here / "x.yaml").write_bytes(b"\xff\xfe\x00")
    assert message("x.yaml").startswith("the file is not UTF-8 text.; at: x.yaml")


def test_missing_recipe_suggests_what_may_be_meant(here):
    write("mine.yaml", "train: {steps: 5}\n")
    (here / "folder").mkdir()
    fixes = {
        "base_50pc": "did you mean 'base_50pct'?",
        "mine": "did you mean the file 'mine.yaml'?",
        "folder": "this is a folder; give a YAML file.",
        "zzz": "give a YAML file or a name from `mimdet recipe ls`.",
    }
    for name, fix in fixes.items():
        assert message(name) == f"there is no recipe '{name}'.; fix: {fix}"
