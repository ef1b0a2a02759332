"""The rules of detectron2's key maps give back the names that they rename."""

from itertools import product

import pytest
import torch
from detectors import detector_of, shapes_of
from golden import table

from backbones.key_maps.rename import Drop, KeyMap, published_names, rename
from heads.key_maps import DETECTRON2_HEAD
from mimdet_cli.weights.write import detectron2_names

RELEASES = {
    "mimdet_base": ("base_50pct", "mimdet_release"),
    "vitdet_b": ("vitdet_base_100ep", "detectron2_vitdet"),
    "li2021_b": ("vit_fpn_base_100ep", "li2021_release"),
}


def test_holes_come_back_wherever_a_rule_puts_them():
    key_map = KeyMap(
        {
            "a.{i}.{kind:x|y}": "ours.{kind}.{i}",
            "b.{0|1|2}.{leaf}": "box.{0|1|2}.{leaf}",
            "c.{rest}": "rest.{rest}",
        }
    )
    assert published_names("ours.x.12", key_map) == ["a.12.x"]
    assert published_names("box.2.bias", key_map) == ["b.2.bias"]
    assert published_names("rest.any.thing", key_map) == ["c.any.thing"]
    assert published_names("ours.z.1", key_map) == []


def test_a_name_that_an_earlier_rule_takes_is_no_name():
    key_map = KeyMap(
        {"x.a.{rest}": "one.{rest}", "x.{rest}": "one.{rest}", "y.{rest}": Drop("not learned")}
    )
    assert published_names("one.b", key_map) == ["x.a.b", "x.b"]
    assert published_names("one.a.b", key_map) == ["x.a.a.b"]


@pytest.mark.parametrize("theirs", ["a.{i}.{rest}", "a.{path}.{rest}", "{a|b}.{rest}"])
def test_a_rule_that_loses_a_part_of_the_name_is_not_reversed(theirs):
    assert published_names("ours.x", KeyMap({theirs: "ours.{rest}"})) == []


@pytest.mark.parametrize(
    ("norm", "box_head", "rpn_convs", "cascade"),
    product(["bn", "ln", "none"], ["4conv1fc", "2fc"], [1, 2], [False, True]),
)
def test_every_tensor_of_every_head_has_one_name_that_comes_back(
    norm, box_head, rpn_convs, cascade
):
    changes = (
        f"head.norm={norm}", f"head.box_head={box_head}", f"head.rpn_convs={rpn_convs}",
        f"head.cascade={str(cascade).lower()}", "head.channels=8", "head.fc_channels=8",
        "backbone.width=16", "backbone.depth=4", "backbone.heads=2", "backbone.channels=8",
        "backbone.global_blocks=[3]",
    )  # fmt: skip
    detector = detector_of("vitdet_base_100ep", *changes)
    maps = detector.backbone.key_maps
    names = detectron2_names(detector.state_dict(), maps)
    assert len(set(names.values())) == len(names) > 100
    key_map = KeyMap({**maps["detectron2_vitdet"].rules, **DETECTRON2_HEAD})
    renamed = rename({name: torch.empty(0) for name in names.values()}, key_map)
    assert set(renamed.kept) == set(names)
    first = "conv.weight" if rpn_convs == 1 else "conv.conv0.weight"
    assert names["rpn.convs.0.weight"] == f"proposal_generator.rpn_head.{first}"


@pytest.mark.parametrize("release", RELEASES)
def test_the_names_are_the_released_ones_of_the_full_size(release):
    official = table("mimdet_vitdet/official_state_dict_shapes.json")[release]
    recipe, layout = RELEASES[release]
    detector = shapes_of(recipe)
    own = detector.state_dict()
    maps = detector.backbone.key_maps
    names = detectron2_names(own, maps)
    key_map = KeyMap({**maps[layout].rules, **DETECTRON2_HEAD})
    dropped = rename({key: torch.empty(0) for key in official}, key_map).dropped
    assert len(names) >= 240
    assert {names[key]: list(x.shape) for key, x in own.items()} == {
        key: shape for key, shape in official.items() if key not in dropped
    }
