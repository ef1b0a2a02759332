import pytest
import torch

from backbones.layers.windows import from_windows, to_windows


@pytest.mark.parametrize(("height", "width", "side"), [(6, 8, 2), (5, 7, 4), (3, 3, 14), (4, 1, 1)])
def test_joined_windows_are_the_grid_they_were_cut_from(height, width, side):
    grid = torch.randn(2, height, width, 3)
    assert torch.equal(from_windows(to_windows(grid, side), height, width), grid)


def test_windows_follow_the_rows_of_the_grid_image_by_image():
    grid = torch.arange(2 * 4 * 6.0).reshape(2, 4, 6, 1)
    windows = to_windows(grid, 2)
    assert windows.shape == (12, 2, 2, 1)
    assert torch.equal(windows[1, ..., 0], grid[0, :2, 2:4, 0])
    assert torch.equal(windows[3, ..., 0], grid[0, 2:, :2, 0])
    assert torch.equal(windows[11, ..., 0], grid[1, 2:, 4:, 0])


def test_a_window_over_the_edge_is_padded_with_zeros_at_the_bottom_and_right():
    windows = to_windows(torch.ones(1, 3, 3, 1), 2)[..., 0]
    assert torch.equal(windows[1], torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert torch.equal(windows[2], torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert torch.equal(windows[3], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
