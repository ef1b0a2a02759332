"""Cut detectron2's stored detections and pasted masks down to what the paste test needs.

Run as `python tests/parity/make_paste_fixture.py GOLDEN_FOLDER`, the folder that holds
`mimdet_vitdet`. Tensors are copied bit for bit, except that the pasted masks (n, H, W) are packed
to eight pixels per byte; the metadata names the source and its sha256.
"""

import hashlib
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

SOURCE = "mimdet_convfeat.det_eval.safetensors"
FIXTURE = Path(__file__).parent / "fixtures" / "paste_convfeat.safetensors"
KEPT = ("det_", "post_", "in.image_sizes", "in.output_sizes")


def pack(masks: Tensor) -> Tensor:
    """Bit masks as bytes, the first pixel in the highest bit, zeros at the end."""
    bits = masks.flatten().to(torch.uint8)
    bits = torch.nn.functional.pad(bits, (0, -len(bits) % 8)).view(-1, 8)
    return (bits << torch.arange(7, -1, -1, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def main(golden: Path) -> None:
    """Write the fixture."""
    source = golden / "mimdet_vitdet" / SOURCE
    tensors = {
        key: pack(tensor) if key.endswith(".masks") else tensor
        for key, tensor in load_file(source).items()
        if key.startswith(KEPT)
    }
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    save_file(tensors, FIXTURE, metadata={"source": SOURCE, "sha256": digest})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
