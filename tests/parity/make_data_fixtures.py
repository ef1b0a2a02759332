"""Cut the frozen detectron2 numbers down to what the data pipeline's parity tests need.

Run as `python tests/parity/make_data_fixtures.py GOLDEN_FOLDER`, the folder that holds
`mimdet_vitdet`. Numbers are copied as they are; each fixture names its source and its sha256.
"""

import hashlib
import json
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"
RUNS = ("mimdet_convfeat", "mimdet_masktoken", "vitdet")
BACKGROUND = 5


def cut_mask_targets(folder: Path) -> None:
    """Polygons, sampled foreground boxes and their 28 x 28 targets."""
    cut: dict[str, Tensor] = {}
    sources = {}
    for run in RUNS:
        source = folder / f"{run}.det_train.safetensors"
        sources[source.name] = hashlib.sha256(source.read_bytes()).hexdigest()
        full = load_file(source)
        for i in (0, 1):
            foreground = full[f"sampled_{i}.classes"] < BACKGROUND
            cut |= {
                f"{run}.{i}.image_size": full["in.image_sizes"][i].clone(),
                f"{run}.{i}.gt.boxes": full[f"gt_{i}.boxes"],
                f"{run}.{i}.gt.polygons": full[f"gt_{i}.polygons"],
                f"{run}.{i}.sampled_gt_boxes": full[f"sampled_{i}.gt_boxes"][foreground].clone(),
                f"{run}.{i}.target.boxes": full[f"mask_target_{i}.boxes"],
                f"{run}.{i}.target.masks": full[f"mask_target_{i}.masks"],
            }
    target = FIXTURES / "mask_targets.safetensors"
    save_file(cut, target, metadata={"sources": json.dumps(sources)})
    target.chmod(0o644)


def cut_resize_shapes(folder: Path) -> None:
    """The cases of ResizeShortestEdge."""
    source = folder / "resize_shapes.json"
    full = json.loads(source.read_text())
    key = "resize_shortest_edge"
    cut = {
        "source": source.name,
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "columns": full["columns"][key],
        key: full[key],
    }
    (FIXTURES / "resize_shapes.json").write_text(json.dumps(cut) + "\n")


if __name__ == "__main__":
    golden = Path(sys.argv[1]) / "mimdet_vitdet"
    cut_mask_targets(golden)
    cut_resize_shapes(golden)
