"""Cut the frozen numbers of ViTDet and of the plain baselines down to what the tests need.

Run as `python tests/parity/make_backbone_fixtures.py GOLDEN_FOLDER`, the folder that holds
`mimdet_vitdet` and `vit_adapter`. Tensors are copied bit for bit, of the finest maps the first
rows only; the metadata names each source and its sha256.
"""

import hashlib
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"
ROWS = {"fpn.p3": 8}
Cut = dict[str, tuple[str, ...]]
CUTS: dict[str, Cut] = {
    "vitdet_blocks": {  # one windowed and one global block, and the pyramid without its finest map
        "mimdet_vitdet/vitdet.weights": (
            "backbone.net.blocks.2.",
            "backbone.net.blocks.3.",
            "backbone.simfp_3.",
            "backbone.simfp_4.",
            "backbone.simfp_5.",
        ),
        "mimdet_vitdet/vitdet.case_ns_div32": (
            "vit.block1",
            "vit.last_feat",
            "fpn.p3",
            "fpn.p4",
            "fpn.p5",
        ),
    },
    "li2021_block": {  # one windowed block with its relative biases
        "mimdet_vitdet/li2021.weights": (
            "backbone.bottom_up.blocks.6.",
            "backbone.bottom_up.windowed_rel_pos_bias.relative_position_bias_table",
        ),
        "mimdet_vitdet/li2021.case_sq256": ("vit.block5", "vit.block6"),
    },
    "vit_baseline_block": {  # one windowed block on a grid that the windows do not divide
        "vit_adapter/baseline_li_not_div32": (
            "state.blocks.2.",
            "state.norm3.",
            "block1",
            "block2",
            "f3",
        ),
    },
}


def wanted(key: str, names: tuple[str, ...]) -> bool:
    """Whether `key` is one of `names`, or lies below one that ends in a dot."""
    return key in names or key.startswith(tuple(name for name in names if name.endswith(".")))


def cut(folder: Path, sources: Cut) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of one fixture."""
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for source, names in sources.items():
        path = folder / f"{source}.safetensors"
        metadata[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, "pt") as file:
            for key in sorted(file.keys()):
                if wanted(key, names):
                    tensor = file.get_tensor(key)
                    rows = ROWS.get(key)
                    tensors[key] = tensor[:, :, :rows].clone() if rows else tensor
    return tensors, metadata


def main(folder: Path) -> None:
    """Write every fixture."""
    for name, sources in CUTS.items():
        tensors, metadata = cut(folder, sources)
        save_file(tensors, FIXTURES / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
