"""Every shipped recipe is valid, states its facts, and the published ones agree with the paper."""

from pathlib import Path

import pytest
from detectors import completed

from mimdet_cli.engine.schedule import scaled_lr, total_steps
from mimdet_cli.recipe.catalog import read_header, shipped_folder, shipped_names
from mimdet_cli.recipe.load import load_recipe

NAMES = shipped_names()
PUBLISHED = [name for name in NAMES if name.startswith(("base_", "large_"))]


def header(name: str):
    return read_header((shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8"))


def test_list_of_recipes_is_complete_and_in_natural_order():
    assert len(NAMES) >= 50
    assert NAMES[:5] == ["base_12pct", "base_25pct", "base_50pct", "base_75pct", "base_100pct"]
    assert {"large_50pct", "demo", "nuclei_tiny"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_recipe_validates_with_the_options_of_its_backbone(name):
    recipe = completed(name)
    assert recipe.name == name


@pytest.mark.parametrize("name", NAMES)
def test_header_states_command_expected_ap_cost_and_source(name):
    stated = header(name)
    assert all((stated.summary, stated.command, stated.expected, stated.cost, stated.source))
    assert f"mimdet train {name}" in stated.command


@pytest.mark.parametrize(
    ("name", "ratio", "fill", "box_ap", "mask_ap"),
    [
        ("base_12pct", 0.125, "mask", 47.6, 43.0),
        ("base_25pct", 0.25, "mask", 49.9, 44.7),
        ("base_50pct", 0.5, "stem", 51.7, 46.1),
        ("base_75pct", 0.75, "mask", 51.8, 46.3),
        ("base_100pct", 1.0, "mask", 51.8, 46.2),
        ("large_50pct", 0.5, "stem", 54.3, 48.2),
    ],
)
def test_published_recipe_states_the_papers_figures(name, ratio, fill, box_ap, mask_ap):
    options = load_recipe(name).recipe.backbone.values
    assert (options["train_ratio"], options["fill"], options["p5"]) == (ratio, fill, "max")
    assert (header(name).box_ap, header(name).mask_ap) == (box_ap, mask_ap)
    row = next(
        line
        for line in (shipped_folder() / "README.md").read_text().splitlines()
        if line.startswith(f"| `{name}` |")
    )
    assert f"| {box_ap} | {mask_ap} |" in row


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_schedule_is_67500_steps_of_64_images(name):
    recipe = load_recipe(name).recipe
    assert total_steps(recipe, train_images=1) == 67_500
    assert scaled_lr(recipe) == 8e-5
    assert (recipe.optimizer.warmup_images, recipe.optimizer.warmup_factor) == (30_000, 0)


def test_batch_of_16_halves_the_learning_rate_and_sees_as_many_images():
    recipe = load_recipe("base_50pct", ["train.batch=16"]).recipe
    assert scaled_lr(recipe) == pytest.approx(4e-5, rel=1e-12)
    assert total_steps(recipe, train_images=1) == 270_000


def test_large_differs_from_base_only_where_it_must():
    base, large = (load_recipe(name).flat() for name in ("base_50pct", "large_50pct"))
    assert {key: large[key] for key in large if large[key] != base[key]} == {
        "name": "large_50pct",
        "backbone.width": 1024,
        "backbone.depth": 24,
        "backbone.heads": 16,
        "backbone.drop_path": 0.4,
        "optimizer.multiplier": 3.5,
        "init.weights": "mae-large",
    }


def test_folder_of_recipes_is_data():
    assert not any(shipped_folder().rglob("*.py"))
    assert Path(shipped_folder() / "README.md").is_file()
