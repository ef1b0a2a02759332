"""Parameter counts and their parts."""

from detectors import shapes_of

from mimdet_cli.measure.parameters import count_parameters


def counted(name, *sets):
    return count_parameters(shapes_of(name, *sets))


def test_mimdet_base_has_the_measured_counts_part_by_part():
    found = counted("base_50pct")
    assert (found.total, found.trainable) == (127_954_768, 124_753_488)
    assert found.parts["backbone.decoder"] == 14_678_528
    assert found.parts["backbone.stem"] == 4_079_712
    assert found.parts["rpn"] + found.parts["roi_heads"] == 19_446_768


def test_parts_sum_to_the_total_and_own_parameters_of_the_backbone_are_parts():
    found = counted("vitdet_base_100ep")
    assert sum(found.parts.values()) == found.total == 110_895_792
    assert "backbone.pos_embed" in found.parts


def test_frozen_parameters_are_counted_but_not_as_trainable(tiny):
    whole, frozen = counted(tiny), counted(tiny, r"train.freeze=['rpn\..*']")
    assert frozen.total == whole.total
    assert frozen.trainable == whole.trainable - whole.parts["rpn"]
