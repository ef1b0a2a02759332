"""Cut the frozen MIMDet numbers down to what the committed parity tests need.

Run as `python tests/parity/make_mimdet_fixture.py GOLDEN_FOLDER`, the folder that holds
`mimdet_vitdet`. Tensors are copied bit for bit; the metadata names each source and its sha256.
"""

import hashlib
import sys
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file

FIXTURE = Path(__file__).parent / "fixtures" / "mimdet_convfeat.safetensors"
WANTED = {
    "mimdet_convfeat.weights": ("backbone.",),
    "mimdet_convfeat.case_ns_r050": (
        "in.image_",
        "sampling.ids_shuffle",
        "sampling.pad_mask",
        "fpn.p5",
    ),
}


def main(folder: Path) -> None:
    """Write the fixture."""
    tensors, metadata = {}, {}
    for source, prefixes in WANTED.items():
        path = folder / "mimdet_vitdet" / f"{source}.safetensors"
        metadata[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        with safe_open(path, "pt") as file:
            for key in sorted(file.keys()):
                if key.startswith(prefixes):
                    tensors[key] = file.get_tensor(key)
    save_file(tensors, FIXTURE, metadata)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
