"""Runs keep the names that c73681b gave them; a new option changes a name only where it is set."""

from pathlib import Path

import pytest
from detectors import completed

from mimdet_cli.ablation.plan.identity import run_hash

RUN = Path(__file__).parents[3] / "e2e" / "fixtures" / "run_c73681b" / "run"


def identity(values: dict) -> str:
    return run_hash(completed(values), "data", None)


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("mimdet", "e688d9a026b8"),
        ("timm_fpn", "60bb76412a63"),
        ("vit_adapter", "7079d42cd982"),
        ("vit_fpn", "5bb29cb03994"),
        ("vitdet", "5d1000557d99"),
    ],
)
def test_the_defaults_of_every_backbone_have_the_name_that_c73681b_gave_them(backbone, name):
    assert identity({"backbone": {"name": backbone}}) == name


def test_a_run_folder_of_c73681b_has_the_name_that_it_had():
    recipe = completed(RUN / "recipe.yaml")
    assert run_hash(recipe, "data", None) == "8399e63ade7e"


def test_an_option_added_since_counts_where_it_is_not_its_default():
    names = [identity({"head": {"box_loss": loss}}) for loss in ("l1", "giou")]
    assert names[0] == "e688d9a026b8" != names[1]


def test_what_changes_nothing_is_no_part_of_the_name():
    quiet = {"name": "other", "data": {"workers": 9}, "train": {"epochs": 36, "log_every": 3}}
    assert identity(quiet) == identity({})
    assert identity({"data": {"flip": 0.0}}) != identity({}) != identity({"seed": 1})
