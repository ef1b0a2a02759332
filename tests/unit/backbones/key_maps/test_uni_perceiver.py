"""Uni-Perceiver's weights for ViT-Adapter, against its equations, computed from its names."""

import torch
from detectors import fill
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from backbones.vit_adapter import ViTAdapter, ViTAdapterOptions
from backbones.vit_adapter.encoder import InputNorm
from mimdet_cli.weights.load import LoadReport

WIDTH, DEPTH, HEADS, GRID = 24, 4, 2, 4
Tensors = dict[str, Tensor]


def adapter(grid: int = GRID, **options) -> ViTAdapter:
    torch.manual_seed(0)
    sizes = {
        "encoder": "uni_perceiver", "width": WIDTH, "depth": DEPTH, "heads": HEADS, "window": 3,
        "drop_path": 0.0, "layer_scale": None, "grid": grid, "conv_width": 4, "interactions": 2,
        "deform_heads": 2, "points": 2, "channels": 8,
    }  # fmt: skip
    return ViTAdapter(ViTAdapterOptions(**{**sizes, **options})).eval()


def made(depth: int = DEPTH, width: int = WIDTH) -> Tensors:
    """A checkpoint under the names of the released class; every value is its own."""
    draw = torch.Generator().manual_seed(4)
    layer = {
        "attention.self.query": (width, width), "attention.self.key": (width, width),
        "attention.self.value": (width, width), "attention.output.dense": (width, width),
        "attention.output.LayerNorm": (width,), "intermediate.dense": (4 * width, width),
        "output.dense": (width, 4 * width), "output.LayerNorm": (width,),
    }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "visual_embed.patch_embed.proj": (width, 3, 16, 16),
        "visual_embed.embeddings_norm": (width,),
        **{f"layers.{i}.{key}": shape for i in range(depth) for key, shape in layer.items()},
    }
    tensors = {}
    for key, shape in shapes.items():
        tensors[f"{key}.weight"] = 0.3 * torch.randn(shape, generator=draw)
        tensors[f"{key}.bias"] = 0.3 * torch.randn(shape[0], generator=draw)
    tensors["visual_embed.patch_embed.pos_embed.weight"] = torch.randn(GRID**2, width)
    tensors["visual_embed.embeddings_type.weight"] = torch.randn(1, width)
    return tensors


def load(backbone: ViTAdapter, tensors: Tensors, tmp_path) -> LoadReport:
    return fill(backbone, "uni_perceiver", tensors, tmp_path)


class Reference:
    """BERT's layers over all patches of an image, q, k and v apart, norms after the sums."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors = tensors

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def embed(self, images: Tensor) -> Tensor:
        name = "visual_embed.patch_embed"
        weight, bias = self.tensors[f"{name}.proj.weight"], self.tensors[f"{name}.proj.bias"]
        x = F.conv2d(images, weight, bias, stride=16).flatten(2).transpose(1, 2)
        x = x + self.tensors[f"{name}.pos_embed.weight"]
        x = x + self.tensors["visual_embed.embeddings_type.weight"]
        return self.norm("visual_embed.embeddings_norm", x, 1e-12)

    def layer(self, i: int, x: Tensor) -> Tensor:
        name = f"layers.{i}"
        q, k, v = (
            self.linear(f"{name}.attention.self.{part}", x)
            .unflatten(-1, (HEADS, -1))
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        seen = self.linear(
            f"{name}.attention.output.dense", (weights @ v).transpose(1, 2).flatten(2)
        )
        x = self.norm(f"{name}.attention.output.LayerNorm", x + seen)
        hidden = F.gelu(self.linear(f"{name}.intermediate.dense", x))
        return self.norm(
            f"{name}.output.LayerNorm", x + self.linear(f"{name}.output.dense", hidden)
        )


@torch.no_grad()
def test_loaded_transformer_computes_what_the_released_names_say(tmp_path):
    tensors = made()
    backbone = adapter(global_blocks=(0, 1, 2, 3))
    report = load(backbone, tensors, tmp_path)
    assert report.share == 1
    assert not report.missing
    assert not report.dropped
    reference, images = Reference(tensors), torch.randn(2, 3, 64, 64)
    tokens, expected = backbone.embed(images), reference.embed(images)
    assert_close(tokens.flatten(1, 2), expected, atol=1e-5, rtol=1e-5)  # fp32 sums
    ours: list[Tensor] = []
    backbone.run(range(DEPTH), tokens, ours)
    for i, grid in enumerate(ours):
        expected = reference.layer(i, expected)
        # fp32: q, k and v in one product
        assert_close(grid.flatten(1, 2), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_windows_are_filled_before_the_projections(tmp_path):
    """Unlike those of a plain ViT here: zeros beside the image become keys with their bias."""
    tensors = made()
    backbone = adapter(window=3, global_blocks=())
    load(backbone, tensors, tmp_path)
    grid = torch.randn(1, 4, 4, WIDTH)
    filled = F.pad(grid, (0, 0, 0, 2, 0, 2))
    corner = Reference(tensors)
    attended = backbone.blocks[0].attn(grid)[0, 3, 3]
    window = filled[:, 3:6, 3:6].flatten(1, 2)
    q, k, v = (
        corner.linear(f"layers.0.attention.self.{part}", window).unflatten(-1, (HEADS, -1))
        for part in ("query", "key", "value")
    )
    logits = torch.einsum("bqhd,bkhd->bhqk", q, k) / (WIDTH / HEADS) ** 0.5
    seen = torch.einsum("bhqk,bkhd->bqhd", logits.softmax(-1), v).flatten(2)
    expected = corner.linear("layers.0.attention.output.dense", seen)[0, 0]
    assert_close(attended, expected, atol=1e-5, rtol=1e-5)  # fp32 sums


def test_positions_get_a_slot_for_the_class_token_and_are_resized(tmp_path):
    tensors = made()
    table = tensors["visual_embed.patch_embed.pos_embed.weight"]
    same, larger = adapter(), adapter(grid=7)
    assert load(same, tensors, tmp_path).resized == ("pos_embed",)
    assert torch.equal(same.pos_embed[0, 1:], table)
    assert not same.pos_embed[0, 0].any()
    load(larger, tensors, tmp_path)
    assert larger.pos_embed.shape == (1, 50, WIDTH)


def test_every_key_fills_the_base_and_nothing_is_missing():
    with torch.device("meta"):
        backbone = ViTAdapter(
            ViTAdapterOptions(
                encoder="uni_perceiver", width=768, heads=12, deform_heads=12, deform_ratio=0.5
            )
        )
    promised = {key for key in backbone.state_dict() if backbone.is_pretrained(key)}
    fresh = {key for key in promised if backbone.key_maps["uni_perceiver"].is_fresh(key)}
    assert len(promised - fresh) == 12 * 12 + 6
    assert isinstance(backbone.input_norm, InputNorm)
    assert backbone.depth_of("input_norm.kind") == 0
