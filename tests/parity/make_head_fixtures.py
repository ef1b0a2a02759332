"""Cut the frozen detectron2 numbers down to what the head's parity tests need.

Run as `python tests/parity/make_head_fixtures.py GOLDEN_FOLDER`, the folder that holds
`mimdet_vitdet`. Tensors are copied bit for bit; the metadata names each source and its sha256.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"
HEAD = ("proposal_generator.", "roi_heads.")


def training(source: str, key: str) -> bool:
    """The whole training step on stored maps; gradients of all but the large convolutions."""
    if source.endswith("weights"):
        return key.startswith(HEAD)
    if source.endswith("grads"):
        large = ("conv2.weight", "conv3.weight", "conv4.weight", "fc1.weight")
        large += ("mask_fcn2.weight", "mask_fcn3.weight", "mask_fcn4.weight", "conv1.weight")
        return key.startswith(HEAD) and not key.endswith(large)
    return not key.startswith(("in.image_0", "in.image_1", "after.backbone", "sampling", "fpn.p6"))


def detecting(source: str, key: str) -> bool:
    """The stages of evaluation that follow RoIAlign, with LayerNorm in the heads."""
    if source.endswith("weights"):
        return key.startswith("roi_heads.")
    kept = ("box.", "det_", "mask.", "proposals_", "in.image_sizes", "in.padded_hw")
    return key.startswith(kept)


def shorten(key: str, tensor: Tensor) -> Tensor:
    """Only the first regions of the largest outputs."""
    rows = {"box.feat": 8, "mask.logits": 4, "mask.pooled_first8": 4}.get(key)
    return tensor[:rows].clone() if rows else tensor


CUTS: dict[str, tuple[tuple[str, ...], Callable[[str, str], bool]]] = {
    "head_train_bn": (
        ("mimdet_convfeat.weights", "mimdet_convfeat.det_train", "mimdet_convfeat.det_train_grads"),
        training,
    ),
    "head_detect_ln": (("vitdet.weights", "vitdet.det_eval"), detecting),
}
PREFIX = {"weights": "weights.", "det_train_grads": "grads."}


def cut(
    folder: Path, sources: tuple[str, ...], wanted: Callable[[str, str], bool]
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of one fixture."""
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, str] = {}
    for source in sources:
        path = folder / f"{source}.safetensors"
        metadata[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        prefix = PREFIX.get(source.split(".")[1], "")
        with safe_open(path, "pt") as file:
            metadata["config"] = file.metadata().get("config", metadata.get("config", ""))
            for key in sorted(file.keys()):
                if wanted(source, key):
                    tensors[prefix + key] = shorten(key, file.get_tensor(key))
    return tensors, metadata


def main(folder: Path) -> None:
    """Write every fixture."""
    for name, (sources, wanted) in CUTS.items():
        tensors, metadata = cut(folder, sources, wanted)
        save_file(tensors, FIXTURES / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    main(Path(sys.argv[1]) / "mimdet_vitdet")
