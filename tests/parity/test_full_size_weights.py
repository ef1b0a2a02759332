"""Every key of the released full-size detectors fills the shipped recipe of the same name."""

import pytest
import torch
from detectors import shapes_of
from golden import table

from backbones.key_maps.rename import rename
from heads.key_maps import HEADS

RELEASES = {
    "mimdet_base": ("base_50pct", "mimdet_release"),
    "mimdet_large": ("large_50pct", "mimdet_release"),
    "vitdet_b": ("vitdet_base_100ep", "detectron2_vitdet"),
    "vitdet_l": ("vitdet_large_100ep", "detectron2_vitdet"),
    "li2021_b": ("vit_fpn_base_100ep", "li2021_release"),
}


def test_every_release_with_known_shapes_is_listed():
    assert set(table("mimdet_vitdet/official_state_dict_shapes.json")) == set(RELEASES)


@pytest.mark.parametrize("release", RELEASES)
def test_every_key_of_the_release_is_mapped_onto_the_recipes_model(release):
    recipe, layout = RELEASES[release]
    shapes = table("mimdet_vitdet/official_state_dict_shapes.json")[release]
    detector = shapes_of(recipe)
    with torch.device("meta"):
        official = {key: torch.empty(shape) for key, shape in shapes.items()}
    key_map = detector.backbone.key_maps[layout]
    assert key_map.head is not None
    whole = type(key_map)({**key_map.rules, **HEADS[key_map.head]})
    renamed = rename(official, whole)
    assert (renamed.unknown, renamed.broken) == ((), {})
    ours = {key: x.shape for key, x in detector.state_dict().items()}
    assert {key: x.shape for key, x in renamed.kept.items()} == ours
    assert len(ours) >= 245
    assert len(renamed.kept) + len(renamed.dropped) == len(official)
