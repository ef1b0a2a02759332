import pytest
import torch

from heads.anchors import Anchors


def test_anchors_are_centred_on_multiples_of_the_stride_from_zero():
    (boxes,) = Anchors([32], [1.0], [16])([(2, 3)])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert centres.tolist() == [[0, 0], [16, 0], [32, 0], [0, 16], [16, 16], [32, 16]]


def test_anchor_sides_follow_size_and_ratio_without_rounding():
    (boxes,) = Anchors([32], [0.5, 1.0, 2.0], [4])([(1, 1)])
    sides = boxes[:, 2:] - boxes[:, :2]
    torch.testing.assert_close(sides[:, 1] / sides[:, 0], torch.tensor([0.5, 1.0, 2.0]))
    torch.testing.assert_close(sides.prod(dim=1), torch.full((3,), 1024.0))
    assert sides[0, 0].item() == pytest.approx(32 * 2**0.5)


def test_strides_are_those_given_even_for_maps_of_odd_size():
    boxes = Anchors([32, 512], [1.0], [32, 64])([(11, 11), (6, 6)])
    assert (boxes[1][1] - boxes[1][0]).tolist() == [64, 0, 64, 0]


def test_anchors_are_not_in_the_state_dict_and_move_with_the_module():
    anchors = Anchors([32], [1.0], [4])
    assert anchors.state_dict() == {}
    assert anchors.double()([(2, 2)])[0].dtype == torch.float64


def test_as_many_sizes_as_levels_are_demanded():
    with pytest.raises(ValueError, match="1 anchor sizes for 2 levels"):
        Anchors([32], [1.0], [4, 8])
