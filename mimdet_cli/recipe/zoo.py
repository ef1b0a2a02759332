"""The shipped recipes side by side: backbone, size, published AP, source."""

import re
from dataclasses import dataclass

from mimdet_cli.recipe import catalog
from mimdet_cli.recipe.load import load_recipe

SIZE = re.compile(r"(?:^|_)(tiny|small|base|large|huge|b\d)(?:_|$)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One recipe. AP is the paper's, in points of 100; None where none is published.

    `size` is the word in the recipe's name. `model` is the name that timm knows the backbone by.
    `weights` are those that training starts from; None for random ones.
    """

    recipe: str
    backbone: str
    model: str | None
    size: str | None
    box_ap: float | None
    mask_ap: float | None
    source: str
    weights: str | None


def entries() -> list[Entry]:
    """Every shipped recipe, in the order of `mimdet recipe ls`."""
    return [_entry(name) for name in catalog.shipped_names()]


def _entry(name: str) -> Entry:
    path = catalog.shipped_folder() / f"{name}.yaml"
    header = catalog.read_header(path.read_text(encoding="utf-8"))
    recipe = load_recipe(path).recipe
    size = SIZE.search(name)
    return Entry(
        recipe=name,
        backbone=recipe.backbone.name,
        model=recipe.backbone.values.get("model"),
        size=size[1] if size else None,
        box_ap=header.box_ap,
        mask_ap=header.mask_ap,
        source=header.source,
        weights=recipe.init.weights,
    )
