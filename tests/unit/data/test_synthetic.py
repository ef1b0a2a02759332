"""The embedded data set: the same bytes from the same seed, and what it promises to contain."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mimdet_cli.data.coco.split import CocoSplit, find_split, load_split
from mimdet_cli.data.mask_transforms import bitmap
from mimdet_cli.data.scenes import place_things
from mimdet_cli.data.synthetic import write_demo
from mimdet_cli.errors import MimdetError, RecipeError, ResourceError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("demo") / "set"
    write_demo(made, train=60, val=40, seed=5)
    return made


def document(folder: Path, split: str) -> dict[str, Any]:
    content = (folder / "annotations" / f"instances_{split}.json").read_text()
    return dict(json.loads(content))


def load(folder: Path, split: str) -> CocoSplit:
    return load_split(*find_split(folder, split), need_masks=True)  # type: ignore[arg-type]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_demo(tmp_path / name, train=5, val=4, seed=seed)
    first, second, third = (files(tmp_path / name) for name in "abc")
    assert len(first) == 5 + 4 + 2
    assert first == second
    assert all(first[name] != third[name] for name in first)


def test_train_and_val_share_no_image(folder: Path) -> None:
    pictures = [data for name, data in files(folder).items() if name.endswith(".jpg")]
    assert len(set(pictures)) == len(pictures) == 100


@pytest.mark.parametrize("split", ["train", "val"])
def test_each_split_has_a_crowd_region_an_empty_image_and_every_kind_of_mask(
    folder: Path, split: str
) -> None:
    loaded = load(folder, split)
    assert loaded.notes == ()
    assert len(loaded.crowds) == 1
    assert (loaded.objects.per_image() == 0).sum() == 1
    kinds = Counter(
        "polygon" if isinstance(a["segmentation"], list) else type(a["segmentation"]["counts"])
        for a in document(folder, split)["annotations"]
        if not a["iscrowd"]
    )
    assert set(kinds) == {"polygon", str, list}
    assert kinds["polygon"] > 0.2 * kinds.total()
    assert kinds[str] > 0.2 * kinds.total()


@pytest.mark.parametrize("split", ["train", "val"])
def test_numbers_and_sizes_of_objects_are_as_promised(folder: Path, split: str) -> None:
    loaded = load(folder, split)
    counts = loaded.objects.per_image()
    assert set(counts[counts > 0].tolist()) <= set(range(2, 9))
    sides = (loaded.objects.boxes[:, 2:] - loaded.objects.boxes[:, :2]).max(axis=1)
    assert sides.min() >= 16
    assert sides.max() <= 96
    assert len(loaded.categories) >= 3
    shares = np.bincount(loaded.objects.labels) / len(loaded.objects)
    assert shares.min() > 0.2


def test_a_quarter_of_the_objects_overlaps_another_and_none_is_mostly_hidden() -> None:
    total = overlapping = 0
    for i in range(80):
        things = place_things(128, np.random.default_rng(i))
        for thing in things:
            others = [t.whole for t in things if t is not thing]
            overlapping += any((thing.whole & other).any() for other in others)
            assert thing.seen.sum() >= 0.4 * thing.whole.sum()
        total += len(things)
    assert total > 300
    assert overlapping / total >= 0.25


def test_masks_show_visible_parts_only_and_fit_box_and_area(folder: Path) -> None:
    loaded = load(folder, "val")
    stated = {a["id"]: a["area"] for a in document(folder, "val")["annotations"]}
    for i in range(len(loaded)):
        truth = loaded.annotations(i)
        assert truth.masks is not None
        bits = [bitmap(truth.masks, k) for k in range(len(truth))]
        covered = np.sum(bits, axis=0) if bits else np.zeros(1)
        assert covered.max(initial=0) <= 1
        for k, annotation in enumerate(loaded.objects.ids[loaded.objects.of_image(i)]):
            rows, columns = np.nonzero(bits[k])
            around = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert truth.boxes[k].tolist() == around
            assert bits[k].sum() == stated[int(annotation)]


def test_pictures_show_their_objects_where_the_masks_are(folder: Path) -> None:
    loaded = load(folder, "train")
    differences = []
    for i in range(len(loaded)):
        pixels = np.asarray(Image.open(loaded.path(i)), dtype=float)
        truth = loaded.annotations(i)
        assert truth.masks is not None
        outside = ~np.any([bitmap(truth.masks, k) for k in range(len(truth))], axis=0)
        for k in range(len(truth)):
            inside = bitmap(truth.masks, k)
            differences.append(np.abs(pixels[inside].mean(0) - pixels[outside].mean(0)).sum())
    assert len(differences) > 200
    assert np.percentile(differences, 5) > 60  # summed over three channels of 0-255


def test_the_same_set_is_left_as_it_is_and_nothing_else_is_overwritten(tmp_path: Path) -> None:
    made = tmp_path / "set"
    assert write_demo(made, train=4, val=4)
    stamp = (made / "train" / "000000.jpg").stat().st_mtime_ns
    assert not write_demo(made, train=4, val=4)
    assert (made / "train" / "000000.jpg").stat().st_mtime_ns == stamp
    with pytest.raises(RecipeError, match="not empty and does not hold this demo set"):
        write_demo(made, train=4, val=4, seed=1)
    (made / "val" / "000000.jpg").unlink()
    with pytest.raises(RecipeError, match="not empty"):
        write_demo(made, train=4, val=4)
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_the_same_set_is_known_by_what_its_files_say(tmp_path: Path) -> None:
    made = tmp_path / "set"
    write_demo(made, train=4, val=4)
    file = made / "annotations" / "instances_val.json"
    text = file.read_text()
    file.write_text(text, encoding="utf-8-sig")
    assert not write_demo(made, train=4, val=4)
    for broken in (text[:-9], text.replace('"info"', '"about"')):
        file.write_text(broken)
        with pytest.raises(RecipeError, match="not empty and does not hold this demo set"):
            write_demo(made, train=4, val=4)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert write_demo(tmp_path / "set", train=4, val=4)
    assert (tmp_path / "set" / "annotations" / "instances_val.json").is_file()


def test_arguments_out_of_range_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(MimdetError) as caught:
        write_demo(tmp_path / "set", train=0, val=4, size=64)
    assert [str(e) for e in caught.value.each()] == [
        "train is 0.; at: demo data set; fix: give at least 4.",
        "size is 64.; at: demo data set; fix: give at least 128.",
    ]


def test_a_folder_that_cannot_be_made_is_an_error_of_resources(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="Cannot write"):
        write_demo(tmp_path / "file" / "set", train=4, val=4)
