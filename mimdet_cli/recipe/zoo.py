"""Overview of the shipped recipes: backbone, size, published AP, source."""

import re
from dataclasses import dataclass

from mimdet_cli.recipe import catalog
from mimdet_cli.recipe.load import load_recipe

SIZE = re.compile(r"(?:^|_)(tiny|small|base|large|huge|b\d)(?:_|$)")


@dataclass(frozen=True, slots=True)
class ZooEntry:
    """One recipe. AP is the paper's, in points of 100; None if not published.

    `size` is from the recipe's name, `model` the backbone's name in timm, `weights` what training
    starts from (None: random).
    """

    recipe: str
    backbone: str
    model: str | None
    size: str | None
    box_ap: float | None
    mask_ap: float | None
    source: str
    weights: str | None


def entries() -> list[ZooEntry]:
    """Every shipped recipe, in the order of `mimdet recipe ls`."""
    return [_entry(name) for name in catalog.shipped_names()]


def _entry(name: str) -> ZooEntry:
    path = catalog.shipped_folder() / f"{name}.yaml"
    header = catalog.read_header(path.read_text(encoding="utf-8"))
    recipe = load_recipe(path).recipe
    size = SIZE.search(name)
    return ZooEntry(
        recipe=name,
        backbone=recipe.backbone.name,
        model=recipe.backbone.values.get("model"),
        size=size[1] if size else None,
        box_ap=header.box_ap,
        mask_ap=header.mask_ap,
        source=header.source,
        weights=recipe.init.weights,
    )
