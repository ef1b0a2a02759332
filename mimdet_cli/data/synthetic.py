"""The embedded data set: coloured shapes in COCO format, generated from a seed.

It needs no download, trains in minutes and has what real data have: objects that hide each other,
polygons, compressed and uncompressed run lengths, a crowd region and an image without objects. The
same arguments give the same bytes; image `i` of a split does not depend on the others.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from mimdet_cli.data.coco import rle
from mimdet_cli.data.coco.json_file import read_json
from mimdet_cli.data.scenes import CLASSES, Scene, Thing, random_crowd, random_scene
from mimdet_cli.errors import DataError, RecipeError, ResourceError
from mimdet_cli.files import write_text

VERSION = 1
CROWD_AT, EMPTY_AT = 1, 2


def write_demo(
    folder: Path, *, train: int = 1000, val: int = 120, size: int = 128, seed: int = 0
) -> bool:
    """Write `{train,val}/*.jpg` and `annotations/instances_{train,val}.json` below a folder.

    Images are `size` x `size` pixels. The set appears whole or not at all. Returns False
    if the folder already held this very set, which is left alone.
    """
    _check(train, val, size, seed)
    info = {"description": "mimdet demo", "version": VERSION, "seed": seed, "size": size}
    info |= {"train": train, "val": val}
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if _holds(folder, info):
            return False
        raise RecipeError(
            "The folder is not empty and does not hold this demo set.",
            where=str(folder),
            fix="give another folder, or remove this one.",
        )
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as made:
            whole = Path(made) / "set"
            for number, (split, count) in enumerate((("train", train), ("val", val))):
                _write_split(whole, split, count, size, [seed, number], info)
            if folder.exists():
                folder.rmdir()
            whole.rename(folder)
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "free some space, or give a folder that can be written."
        raise ResourceError(f"Cannot write: {reason}.", where=str(folder), fix=fix) from error
    return True


def _check(train: int, val: int, size: int, seed: int) -> None:
    wrong = [
        RecipeError(f"{name} is {value}.", where="demo data set", fix=f"give at least {least}.")
        for name, value, least in (
            ("train", train, 4),
            ("val", val, 4),
            ("size", size, 128),
            ("seed", seed, 0),
        )
        if value < least
    ]
    if wrong:
        raise RecipeError.joined(wrong)


def _holds(folder: Path, info: dict[str, Any]) -> bool:
    """Whether the folder has this very set, complete."""
    try:
        for split in ("train", "val"):
            file = folder / "annotations" / f"instances_{split}.json"
            document = read_json(file)
            names = {image["file_name"] for image in document["images"]}
            present = {path.name for path in (folder / split).iterdir()}
            if document["info"] != info or names != present:
                return False
    except (DataError, OSError, KeyError, TypeError):
        return False
    return True


def _write_split(
    root: Path, split: str, count: int, size: int, seed: list[int], info: dict[str, Any]
) -> None:
    (root / split).mkdir(parents=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for i in range(count):
        rng = np.random.default_rng([*seed, i])
        scene = (
            random_crowd(size, rng)
            if i == CROWD_AT
            else random_scene(size, rng, empty=i == EMPTY_AT)
        )
        name = f"{i:06d}.jpg"
        Image.fromarray(scene.pixels).save(root / split / name, quality=92)
        images.append({"id": i + 1, "file_name": name, "height": size, "width": size})
        for record in _records(scene, len(annotations)):
            number = len(annotations) + 1
            annotations.append({"id": number, "image_id": i + 1, **record})
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    document = {
        "info": info,
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }
    file = root / "annotations" / f"instances_{split}.json"
    write_text(file, json.dumps(document))


def _records(scene: Scene, before: int) -> list[dict[str, Any]]:
    """Annotations of a scene; `before` is how many the split has already."""
    records = [
        _record(t.label, t.seen, _segmentation(t, before + i)) for i, t in enumerate(scene.things)
    ]
    if scene.crowd is not None:
        records.append({**_record(0, scene.crowd, _run_lengths(scene.crowd)), "iscrowd": 1})
    return records


def _record(label: int, seen: NDArray[np.bool_], segmentation: object) -> dict[str, Any]:
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top]
    return {
        "category_id": label + 1,
        "bbox": box,
        "area": int(seen.sum()),
        "iscrowd": 0,
        "segmentation": segmentation,
    }


def _segmentation(thing: Thing, number: int) -> object:
    """Polygons for every second object in full sight, else run lengths: some as plain numbers."""
    if not thing.is_covered and number % 2 == 0:
        return [thing.outline.ravel().tolist()]
    if number % 16 == 1:
        return _run_lengths(thing.seen)
    packed: Any = coco_mask.encode(np.asfortranarray(thing.seen, dtype=np.uint8))
    return {"size": packed["size"], "counts": packed["counts"].decode("ascii")}


def _run_lengths(seen: NDArray[np.bool_]) -> dict[str, Any]:
    return {"size": list(seen.shape), "counts": rle.encode(seen).tolist()}
