"""ViTDet's options, promises, sizes and biases. Parameter counts are detectron2's."""

import pytest
import torch
from detectors import detector_on
from pydantic import ValidationError
from torch.nn import functional as F

from backbones.vitdet import ViTDet, ViTDetOptions, by_offset, decomposed_bias
from heads.options import HeadOptions
from mimdet_cli.engine.optim import rates
from mimdet_cli.recipe.schema import Optimizer

SMALL = {
    "width": 32, "depth": 4, "heads": 2, "window": 3, "global_blocks": (1, 3), "image_size": 128,
    "square": None,
}  # fmt: skip
SIZES = {
    "tiny": {"width": 192, "heads": 3},
    "small": {"width": 384, "heads": 6},
    "base": {},
    "large": {"width": 1024, "depth": 24, "heads": 16},
    "huge": {"width": 1280, "depth": 32, "heads": 16},
}
OFFICIAL = {"base": 110_895_792, "large": 330_684_656}


def small(**options):
    torch.manual_seed(0)
    return ViTDet(ViTDetOptions(**{**SMALL, "drop_path": 0.0, **options}))


def run(backbone, height=64, width=96):
    torch.manual_seed(1)
    images = torch.randn(2, 3, height, width)
    return backbone(images, torch.tensor([[height, width]] * 2))


def detector(**options):
    with torch.device("meta"):
        return detector_on(ViTDet(ViTDetOptions(**options)), 80, HeadOptions(norm="ln"))


@pytest.mark.parametrize("size", SIZES)
def test_all_five_sizes_can_be_built(size):
    with torch.device("meta"):
        backbone = ViTDet(ViTDetOptions(**SIZES[size]))
    assert len(backbone.blocks) == SIZES[size].get("depth", 12)
    windows = [block.attn.window for block in backbone.blocks]
    assert windows.count(None) == 4
    assert windows[-1] is None


@pytest.mark.parametrize("size", OFFICIAL)
def test_a_detector_of_80_classes_has_the_official_number_of_parameters(size):
    assert sum(p.numel() for p in detector(**SIZES[size]).parameters()) == OFFICIAL[size]


@pytest.mark.parametrize("norm", ["ln", "bn", "syncbn", "gn", "none"])
def test_it_keeps_its_promise_of_levels_and_every_parameter_learns(norm):
    backbone = small(norm=norm, channels=16)
    if norm == "syncbn":
        backbone.eval()  # in training it needs a GPU
    maps = run(backbone)
    assert [level.name for level in backbone.levels] == list(maps)
    for level in backbone.levels:
        assert maps[level.name].shape == (2, 16, 64 // level.stride, 96 // level.stride)
    sum(x.square().sum() for x in maps.values()).backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize(("square", "canvas"), [(None, (64, 96)), (160, (160, 160))])
def test_images_are_padded_to_the_square_or_to_a_multiple_of_32(square, canvas):
    model = detector_on(small(square=square))
    batch, _ = model.prepare([torch.zeros(3, 50, 70, dtype=torch.uint8)])
    assert batch.shape[2:] == canvas


@pytest.mark.parametrize(
    "option",
    [
        {"window": 2}, {"global_blocks": (3,)}, {"global_blocks": ()}, {"grid": 7},
        {"rel_pos": False}, {"norm": "gn"},
    ],
)  # fmt: skip
def test_every_architectural_option_changes_the_maps(option):
    before, after = small(), small(**option)
    for backbone in (before, after):
        torch.manual_seed(2)
        for name, parameter in backbone.named_parameters():
            if "rel_pos" in name:  # zeros would hide a difference
                torch.nn.init.normal_(parameter, std=0.5)
    assert not torch.allclose(run(before.eval())["p4"], run(after.eval())["p4"], atol=1e-4)


def test_a_larger_image_size_lengthens_the_tables_of_global_blocks_only():
    lengths = [len(block.attn.rel_pos_h) for block in small().blocks]
    longer = small(image_size=256)
    assert lengths == [5, 15, 5, 15]
    assert [len(block.attn.rel_pos_h) for block in longer.blocks] == [5, 31, 5, 31]


def test_recomputed_activations_give_the_same_gradients():
    found = []
    for recompute in (False, True):
        backbone = small(checkpoint_activations=recompute, drop_path=0.2)
        torch.manual_seed(3)
        sum(x.square().mean() for x in run(backbone).values()).backward()
        found.append([p.grad for p in backbone.parameters()])
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(*found, strict=True))


def test_drop_path_makes_training_random_and_leaves_evaluation_alone():
    backbone = small(drop_path=0.5)
    images, sizes = torch.randn(4, 3, 64, 64), torch.full((4, 2), 64)
    assert not torch.equal(backbone(images, sizes)["p4"], backbone(images, sizes)["p4"])
    backbone.eval()
    assert torch.equal(backbone(images, sizes)["p4"], backbone(images, sizes)["p4"])


def test_depth_counts_from_the_patches_through_the_blocks_to_the_pyramid():
    backbone = small()
    assert backbone.depth_of("patch_embed.proj.weight") == backbone.depth_of("pos_embed") == 0
    assert backbone.depth_of("blocks.0.norm1.weight") == 1
    assert backbone.depth_of("blocks.3.attn.rel_pos_h") == 4
    assert backbone.depth_of("pyramid.scale.0.0.weight") == backbone.depth == 5


@pytest.mark.parametrize("exceptions", [True, False])
def test_only_norms_and_positions_of_the_vit_escape_decay_and_not_in_the_huge_model(exceptions):
    optimizer = Optimizer(weight_decay=0.1, no_decay="none")
    model = detector(**SMALL, decay_exceptions=exceptions)
    free = {rate.name for rate in rates(model, optimizer) if rate.weight_decay == 0}
    norms = {f"backbone.blocks.{i}.norm{n}.{k}" for i in range(4) for n in (1, 2)
             for k in ("weight", "bias")}  # fmt: skip
    assert free == (norms | {"backbone.pos_embed"} if exceptions else set())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 9}, "'backbone.window' 9 is larger than the grid of 8 x 8 tokens: use at"),
        ({"window": 5, "square": 64}, "larger than the grid of 4 x 4"),
        ({"width": 36, "heads": 5}, "'backbone.width' 36 is not divisible"),
        ({"global_blocks": (4,)}, "'backbone.global_blocks' names block 4"),
        ({"depth": 6, "global_blocks": None}, "list the blocks in 'backbone.global_blocks'"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_its_key(options, message):
    with pytest.raises(ValidationError, match=message):
        ViTDetOptions(**{**SMALL, **options})


def test_an_entry_belongs_to_the_offset_of_query_and_key():
    table = torch.randn(9, 4)
    entries = by_offset(table, 5)
    for query in range(5):
        for key in range(5):
            assert torch.equal(entries[query, key], table[query - key + 4])


@pytest.mark.parametrize("side", [3, 9])
def test_a_table_of_another_length_is_resized_linearly(side):
    table = torch.randn(9, 4)
    wanted = F.interpolate(table.T[None], 2 * side - 1, mode="linear")[0].T
    assert torch.equal(by_offset(table, side)[side - 1, 0], wanted[-1])
    assert torch.equal(by_offset(table, side)[0, side - 1], wanted[0])


def test_the_decomposed_bias_is_query_times_row_entry_plus_query_times_column_entry():
    height, width = 3, 4
    queries = torch.randn(2, 2, height * width, 8, dtype=torch.float64)
    rows, columns = torch.randn(5, 8).double(), torch.randn(7, 8).double()
    bias = decomposed_bias(queries, rows, columns, height, width)
    assert bias.shape == (2, 2, 12, 12)
    for query in range(height * width):
        for key in range(height * width):
            row = rows[query // width - key // width + height - 1]
            column = columns[query % width - key % width + width - 1]
            wanted = queries[:, :, query] @ (row + column)
            assert torch.allclose(bias[:, :, query, key], wanted, atol=1e-12)
