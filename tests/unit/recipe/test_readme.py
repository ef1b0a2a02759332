"""The recipes' README has a row for every shipped recipe, and says what its header says."""

import re

import pytest

from mimdet_cli.recipe.catalog import read_header, shipped_folder, shipped_names

README = (shipped_folder() / "README.md").read_text(encoding="utf-8")
NAMES = shipped_names()


def figure(kind: str, expected: str) -> str:
    """`51.7`, `>= 45` or `AP50 >= 70` out of a header's line; a dash where it states none."""
    found = re.search(rf"{kind} (AP\d*) ([^,(]*\d)", expected)
    if found is None:
        return "-"
    return found[2] if found[1] == "AP" else f"{found[1]} {found[2]}"


def row(name: str) -> str:
    """The table row that a recipe's header makes."""
    header = read_header((shipped_folder() / f"{name}.yaml").read_text(encoding="utf-8"))
    box, mask = (figure(kind, header.expected) for kind in ("box", "mask"))
    return f"| `{name}` | {box} | {mask} | {header.cost} | {header.source} |"


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_recipe_has_the_row_that_its_header_makes(name):
    assert row(name) in README.splitlines()


def test_no_row_is_of_a_recipe_that_is_not_shipped():
    rows = re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)
    assert len(rows) >= 50
    assert sorted(rows) == sorted(NAMES)


def test_every_recipe_named_in_the_text_is_shipped():
    assert "vitdet_conv_" in README
    named = set(re.findall(r"`((?:vit|swin|base|large|pvt|mvit|convnext)\w*_\w+)`", README))
    assert len(named) >= 50
    assert named <= {*NAMES, "vit_fpn", "vit_adapter"}  # two are backbones
