"""MAE between its repository's names, the Hub's and timm's; the order of q, k and v by running."""

from collections.abc import Mapping

import pytest
import torch
from detectors import fill
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close

from backbones.key_maps.mae import HUB_TO_MAE
from backbones.key_maps.rename import rename
from backbones.mimdet import MIMDet, MIMDetOptions
from backbones.vit_adapter import ViTAdapter, ViTAdapterOptions
from backbones.vit_fpn import ViTFPN, ViTFPNOptions
from backbones.vitdet import ViTDet, ViTDetOptions
from mimdet_cli.errors import WeightsError

WIDTH, DEPTH, HEADS, GRID = 32, 4, 2, 6
DECODER_WIDTH, DECODER_DEPTH, DECODER_HEADS = 16, 8, 4
Tensors = dict[str, Tensor]

V4 = {
    "norm1": "layernorm_before", "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense", "attn.qkv": "attention.attention",
    "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
}  # fmt: skip
V5 = {
    "norm1": "layernorm_before", "norm2": "layernorm_after",
    "attn.proj": "attention.o_proj", "attn.qkv": "attention",
    "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2",
}  # fmt: skip
OTHERS = {
    "cls_token": "vit.embeddings.cls_token",
    "pos_embed": "vit.embeddings.position_embeddings",
    "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
    "norm": "vit.layernorm",
    "mask_token": "decoder.mask_token",
    "decoder_pos_embed": "decoder.decoder_pos_embed",
    "decoder_embed": "decoder.decoder_embed",
    "decoder_norm": "decoder.decoder_norm",
    "decoder_pred": "decoder.decoder_pred",
}


def block_shapes(width: int) -> dict[str, tuple[int, ...]]:
    return {
        "norm1.weight": (width,), "norm1.bias": (width,),
        "attn.qkv.weight": (3 * width, width), "attn.qkv.bias": (3 * width,),
        "attn.proj.weight": (width, width), "attn.proj.bias": (width,),
        "norm2.weight": (width,), "norm2.bias": (width,),
        "mlp.fc1.weight": (4 * width, width), "mlp.fc1.bias": (4 * width,),
        "mlp.fc2.weight": (width, 4 * width), "mlp.fc2.bias": (width,),
    }  # fmt: skip


def mae_shapes(width: int, depth: int, grid: int, decoder_width: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of MAE's repository: encoder, and a decoder of eight blocks."""
    slots, other = 1 + grid**2, decoder_width
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "pos_embed": (1, slots, width),
        "patch_embed.proj.weight": (width, 3, 16, 16), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
        "mask_token": (1, 1, other), "decoder_pos_embed": (1, slots, other),
        "decoder_embed.weight": (other, width), "decoder_embed.bias": (other,),
        "decoder_norm.weight": (other,), "decoder_norm.bias": (other,),
        "decoder_pred.weight": (768, other), "decoder_pred.bias": (768,),
    }  # fmt: skip
    for i in range(depth):
        shapes |= {f"blocks.{i}.{key}": shape for key, shape in block_shapes(width).items()}
    for i in range(DECODER_DEPTH):
        shapes |= {f"decoder_blocks.{i}.{key}": shape for key, shape in block_shapes(other).items()}
    return shapes


def made() -> Tensors:
    """A small MAE checkpoint whose every value is its own."""
    draw = torch.Generator().manual_seed(5)
    shapes = mae_shapes(WIDTH, DEPTH, GRID, DECODER_WIDTH)
    return {key: 0.3 * torch.randn(shape, generator=draw) for key, shape in shapes.items()}


def to_hub(mae: Mapping[str, Tensor], version: int = 4) -> Tensors:
    """The Hub's names, written down here once more and the other way round."""
    blocks, layers = {4: (V4, "vit.encoder.layer"), 5: (V5, "vit.layers")}[version]
    names = ("query", "key", "value") if version == 4 else ("q_proj", "k_proj", "v_proj")
    hub: Tensors = {}
    for key, tensor in mae.items():
        stem, _, leaf = key.rpartition(".")
        where, _, rest = stem.partition("blocks.")
        number, _, part = rest.partition(".")
        if not rest:
            hub[OTHERS[key] if key in OTHERS else f"{OTHERS[stem]}.{leaf}"] = tensor
            continue
        prefix = f"{'decoder.decoder_layers' if where else layers}.{number}.{blocks[part]}"
        if part == "attn.qkv":
            rows = zip(names, tensor.chunk(3), strict=True)
            hub |= {f"{prefix}.{name}.{leaf}": piece.clone() for name, piece in rows}
        else:
            hub[f"{prefix}.{leaf}"] = tensor
    return hub


def equal(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(torch.equal(x, theirs[k]) for k, x in ours.items())


@pytest.mark.parametrize("version", [4, 5])
def test_hub_file_becomes_the_repositorys_again_bit_for_bit(version):
    hub = to_hub(made(), version)
    assert len(hub) == len(made()) + 4 * (DEPTH + DECODER_DEPTH)
    back = rename(hub, HUB_TO_MAE)
    assert (back.unknown, back.dropped, back.broken) == ((), {}, {})
    assert equal(back.kept, made())
    assert equal(to_hub(back.kept, version), hub)


@pytest.mark.parametrize(
    ("width", "depth", "count"), [(768, 12, 111_907_840), (1024, 24, 329_541_888)]
)
def test_files_of_base_and_large_have_as_many_values_as_the_hub_says(width, depth, count):
    shapes = mae_shapes(width, depth, 14, 512)
    mae = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    hub = to_hub(mae)
    assert sum(tensor.numel() for tensor in hub.values()) == count
    back = rename(hub, HUB_TO_MAE)
    assert not back.unknown
    assert {key: tuple(x.shape) for key, x in back.kept.items()} == shapes


def test_timm_reads_the_encoder_of_a_hub_file_and_gives_the_tokens_of_the_repositorys():
    classifier = VisionTransformer(
        img_size=16 * GRID, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=0
    )
    encoder = {key: x for key, x in made().items() if key in classifier.state_dict()}
    assert encoder.keys() == classifier.state_dict().keys()
    classifier.load_state_dict(encoder)
    round_trip = rename(to_hub(classifier.state_dict()), HUB_TO_MAE).kept
    assert equal(round_trip, encoder)


def mimdet(**options) -> MIMDet:
    sizes = {
        "width": WIDTH, "depth": DEPTH, "heads": HEADS, "decoder_width": DECODER_WIDTH,
        "decoder_heads": DECODER_HEADS, "grid": GRID, "channels": 8, "norm_eps": 1e-6,
    }  # fmt: skip
    return MIMDet(MIMDetOptions(**{**sizes, **options})).eval()


PLAIN = {"width": WIDTH, "depth": DEPTH, "heads": HEADS, "channels": 8, "grid": GRID}
BACKBONES = {
    "mimdet": (lambda: mimdet(), "mae"),
    "mimdet, mask": (lambda: mimdet(fill="mask", decoder_layers=8), "mae"),
    "mimdet, no decoder": (lambda: mimdet(decoder_layers=0, train_ratio=1.0), "mae"),
    "mimdet, encoder": (lambda: mimdet(), "mae_encoder"),
    "vitdet": (lambda: ViTDet(ViTDetOptions(**PLAIN, window=3, image_size=96)), "mae_encoder"),
    "vit_adapter": (
        lambda: ViTAdapter(ViTAdapterOptions(**PLAIN, window=3, deform_heads=2)), "mae_encoder",
    ),
    "li2021": (lambda: ViTFPN(ViTFPNOptions(**PLAIN, window=3)), "mae_encoder"),
    "vit": (lambda: ViTFPN(ViTFPNOptions(**PLAIN, window=3, form="vit")), "mae_encoder"),
}  # fmt: skip


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("version", [4, 5])
def test_hub_file_fills_every_backbone_as_the_repositorys_file_does(tmp_path, name, version):
    build, layout = BACKBONES[name]
    found = []
    of_hub = {"mae": "hf_mae", "mae_encoder": "hf_mae"}[layout]
    of_hub = "hf_mae_encoder" if name == "mimdet, encoder" else of_hub
    for one, tensors in ((layout, made()), (of_hub, to_hub(made(), version))):
        torch.manual_seed(0)
        backbone = build()
        report = fill(backbone, one, tensors, tmp_path)
        assert report.share == 1
        assert not report.missing
        assert set(tensors) >= set(report.dropped)
        found.append((backbone.state_dict(), report))
    (ours, from_mae), (theirs, from_hub) = found
    assert equal(ours, theirs)
    assert from_mae.loaded_parameters == from_hub.loaded_parameters > 40_000
    assert set(from_mae.dropped.values()) == set(from_hub.dropped.values())


class HubViT:
    """What the Hub's names say, computed independently: three projections, no tensor of ours."""

    def __init__(self, tensors: Tensors, eps: float = 1e-6) -> None:
        self.tensors = tensors
        self.eps = eps

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)

    def layer(self, name: str, x: Tensor, heads: int) -> Tensor:
        normed = self.norm(f"{name}.layernorm_before", x)
        query, key, value = (
            self.linear(f"{name}.attention.attention.{part}", normed)
            .unflatten(-1, (heads, -1))
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        logits = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        context = (logits.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
        x = x + self.linear(f"{name}.attention.output.dense", context)
        hidden = F.gelu(
            self.linear(f"{name}.intermediate.dense", self.norm(f"{name}.layernorm_after", x))
        )
        return x + self.linear(f"{name}.output.dense", hidden)

    def encode(self, x: Tensor) -> Tensor:
        for i in range(DEPTH):
            x = self.layer(f"vit.encoder.layer.{i}", x, HEADS)
        return self.norm("vit.layernorm", x)

    def decode(self, x: Tensor, layers: int) -> Tensor:
        x = (
            self.linear("decoder.decoder_embed", x)
            + self.tensors["decoder.decoder_pos_embed"][:, 1:]
        )
        for i in range(layers):
            x = self.layer(f"decoder.decoder_layers.{i}", x, DECODER_HEADS)
        return self.norm("decoder.decoder_norm", x)


@torch.no_grad()
def test_loaded_encoder_and_decoder_compute_what_three_projections_do(tmp_path):
    hub = to_hub(made())
    backbone = mimdet()
    fill(backbone, "hf_mae", hub, tmp_path)
    model, tokens = HubViT(hub), torch.randn(2, GRID**2, WIDTH)
    (encoded,) = backbone.encoder(tokens, GRID, GRID)
    # fp32: sums of four blocks in another order
    assert_close(encoded, model.encode(tokens), atol=1e-4, rtol=1e-4)
    decoded = backbone.decoder(backbone.decoder.embed(encoded), GRID, GRID)
    assert_close(decoded, model.decode(encoded, 4), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("order", [("key", "query", "value"), ("query", "value", "key")])
def test_another_order_of_the_projections_would_be_noticed(tmp_path, order):
    """Shapes agree in any order, so the test above has to depend on it."""
    hub, names = to_hub(made()), dict(zip(("query", "key", "value"), order, strict=True))
    swapped = {}
    for key, tensor in hub.items():
        part = key.split(".")[-2]
        swapped[key.replace(f".{part}.", f".{names.get(part, part)}.")] = tensor
    backbone = mimdet()
    fill(backbone, "hf_mae", swapped, tmp_path)
    tokens = torch.randn(2, GRID**2, WIDTH)
    (encoded,) = backbone.encoder(tokens, GRID, GRID)
    away = (encoded - HubViT(hub).encode(tokens)).abs().max()
    assert away > 0.1


def refusal(tensors: Tensors, tmp_path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        fill(mimdet(), "hf_mae", tensors, tmp_path)
    assert caught.value.exit_code == 4
    return caught.value


def test_missing_projection_is_named_as_in_the_file(tmp_path):
    tensors = to_hub(made())
    del tensors["vit.encoder.layer.2.attention.attention.key.bias"]
    assert refusal(tensors, tmp_path).what == (
        "'blocks.2.attn.qkv.bias' cannot be made from the file: the file has no "
        "vit.encoder.layer.2.attention.attention.key.bias."
    )


def test_projections_of_other_shapes_are_named(tmp_path):
    tensors = to_hub(made())
    name = "decoder.decoder_layers.1.attention.attention.value.weight"
    tensors[name] = tensors[name][:8].clone()
    assert "have shapes (16, 16), (16, 16), (8, 16)." in refusal(tensors, tmp_path).what


def test_names_of_both_versions_at_once_are_refused(tmp_path):
    error = refusal({**to_hub(made(), 4), **to_hub(made(), 5)}, tmp_path)
    assert error.each()[0].what.endswith(
        "cannot be made from the file: 'decoder.decoder_layers.0.attention.output.dense.bias' and "
        "'decoder.decoder_layers.0.attention.o_proj.bias' both map to it."
    )


def test_file_of_the_repository_is_no_hub_file(tmp_path):
    assert "keys of the file have no place in this model: " in refusal(made(), tmp_path).what


def test_dropped_decoder_is_reported_by_the_names_in_the_file(tmp_path):
    vitdet = BACKBONES["vitdet"][0]()
    hub = to_hub(made())
    dropped = fill(vitdet, "hf_mae", hub, tmp_path).dropped
    decoder = {key for key in hub if key.startswith("decoder.")}
    assert len(decoder) == 8 * 16 + 8
    assert {dropped[key] for key in decoder} == {"pixels are not predicted"}
    assert set(dropped) - decoder == {
        "vit.embeddings.cls_token", "vit.layernorm.weight", "vit.layernorm.bias",
    }  # fmt: skip
