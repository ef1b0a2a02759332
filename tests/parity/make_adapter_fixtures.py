"""Cut the frozen ViT-Adapter numbers down to what can be committed.

Run as `python tests/parity/make_adapter_fixtures.py GOLDEN_FOLDER`, the folder that holds
`vit_adapter`. Tensors are copied bit for bit; the metadata names each source and its sha256.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"
SMALL = 200


def training(key: str, tensor: Tensor) -> bool:
    """The whole step; gradients of all but the large matrices."""
    return not key.startswith("grad.") or key == "grad.image" or tensor.numel() <= SMALL


def sums(key: str, tensor: Tensor) -> bool:
    """The small cases of the deformable core."""
    return key.startswith(("odd_points_heads", "out_of_range", "tiny_levels"))


def modules(key: str, tensor: Tensor) -> bool:
    """The injector's attention with halved values."""
    return key.startswith("inj_half")


CUTS: dict[str, Callable[[str, Tensor], bool]] = {
    "mini_train": training,
    "msda_core": sums,
    "msda_module": modules,
}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main(golden: Path) -> None:
    folder = golden / "vit_adapter"
    for name, wanted in CUTS.items():
        source = folder / f"{name}.safetensors"
        with safe_open(source, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            meta = file.metadata()["meta"]
        kept = {key: tensor for key, tensor in tensors.items() if wanted(key, tensor)}
        metadata = {"meta": meta, "source": source.name, "sha256": sha256(source)}
        save_file(kept, FIXTURES / f"vit_adapter_{name}.safetensors", metadata)
    source = folder / "optim_groups.json"
    groups = {
        "source": source.name,
        "sha256": sha256(source),
        **json.loads(source.read_text()),
    }
    text = json.dumps(groups, indent=0) + "\n"
    (FIXTURES / "vit_adapter_optim_groups.json").write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
