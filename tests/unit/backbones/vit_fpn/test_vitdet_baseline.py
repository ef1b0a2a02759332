import torch

from backbones.vit_fpn.vitdet_baseline import ConvResidual


def test_it_starts_as_the_identity_and_can_learn():
    layer = ConvResidual(32)
    grid = torch.randn(2, 4, 6, 32)
    out = layer(grid)
    assert torch.equal(out, grid)
    out.square().sum().backward()
    assert layer.norm3.weight.grad.abs().sum() > 0


def test_once_awake_a_cell_reaches_its_eight_neighbours():
    layer = ConvResidual(32)
    torch.nn.init.ones_(layer.norm3.weight)
    grid = torch.randn(1, 7, 7, 32)
    changed = grid.clone()
    changed[0, 3, 3] += torch.randn(32)
    moved = (layer(changed) - layer(grid)).abs().sum(dim=3)[0] > 0
    assert moved[2:5, 2:5].all()
    assert moved.sum() == 9
