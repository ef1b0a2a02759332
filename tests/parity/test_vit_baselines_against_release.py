"""ViT-Adapter's "ViT" and "ViTDet" baselines against its released code, through the key map.

Tolerance 2e-5 absolute: values are below 10, and the released code in fp32 is itself 4e-6 away
from fp64.
"""

import pytest
import torch
from golden import FIXTURES, read, whole

from backbones.key_maps.rename import rename
from backbones.vit_fpn import ViTFPN, ViTFPNOptions

SMALL = {
    "width": 64, "depth": 4, "heads": 4, "window": 4, "global_blocks": (1, 3), "grid": 4,
    "drop_path": 0.0, "channels": 32, "norm": "none",
}  # fmt: skip
CASES = {
    "li_window": {"form": "vit"},
    "li_not_div32": {"form": "vit"},
    "vitdet_residual": {"form": "conv", "conv_blocks": (1, 3)},
}


def close(ours, theirs):
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 2e-5


def filled(backbone, run):
    """The backbone with the stored state; its FPN, which no file of a backbone holds, is fresh."""
    state = {
        f"backbone.{key.removeprefix('state.')}": x
        for key, x in run.items()
        if key.startswith("state.")
    }
    renamed = rename(state, backbone.key_maps["vit_adapter_baseline"])
    assert not renamed.unknown
    kept = {key.removeprefix("backbone."): x for key, x in renamed.kept.items()}
    assert len(kept) == len(state) > 10
    backbone.load_state_dict({**backbone.state_dict(), **kept})
    return backbone, set(kept)


def test_the_committed_cut_gives_a_windowed_block_and_a_normalised_level():
    run = read(FIXTURES / "vit_baseline_block.safetensors")
    backbone, _ = filled(ViTFPN(ViTFPNOptions(**SMALL, form="vit")).eval(), run)
    with torch.no_grad():
        ours = backbone.blocks[2](run["block1"].reshape(1, 5, 7, 64))
        level = backbone.norms[2](ours).permute(0, 3, 1, 2)
    close(ours.flatten(1, 2), run["block2"])
    close(level, run["f3"])


@pytest.mark.parametrize(("case", "options"), CASES.items())
def test_every_block_and_map_equals_the_released_one(case, options):
    run = read(whole(f"vit_adapter/baseline_{case}.safetensors"))
    backbone, loaded = filled(ViTFPN(ViTFPNOptions(**SMALL, **options)).eval(), run)
    assert {key.split(".")[0] for key in set(backbone.state_dict()) - loaded} == {"fpn"}
    seen = {}
    parts = dict(enumerate(backbone.blocks))
    parts |= {int(i): conv for i, conv in getattr(backbone, "convs", {}).items()}
    for i, part in parts.items():
        part.register_forward_hook(lambda module, inputs, output, i=i: seen.update({i: output}))
    with torch.no_grad():
        maps = backbone.scaled(backbone.tokens_of(run["image"]))
    assert len(seen) == 4
    for i, ours in seen.items():
        close(ours.flatten(1, 2), run[f"block{i}"])
    for i, ours in enumerate(maps):
        close(ours, run[f"f{i + 1}"])
