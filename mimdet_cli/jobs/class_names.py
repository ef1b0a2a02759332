"""Name the classes of a released checkpoint, which stores only their number."""

from importlib import resources
from pathlib import Path

import yaml

from mimdet_cli.data.annotations import Category
from mimdet_cli.data.coco.reader import read_classes
from mimdet_cli.errors import DataError
from mimdet_cli.words import first_of

COCO = 80
SHOWN = 8


def name_classes(
    number: int, names: Path | None, annotations: Path | None
) -> tuple[tuple[Category, ...], str]:
    """The classes in label order, and a phrase on the source of their names.

    `names` is a text file with one name per line, `annotations` a COCO file whose classes are used
    by ascending id. Without either, 80 classes get COCO's names and others are numbered.
    """
    if names is not None:
        return _checked(_from_lines(names), number, names), f"named by {names}"
    if annotations is not None:
        return _checked(read_classes(annotations), number, annotations), f"named by {annotations}"
    if number == COCO:
        return coco_classes(), "COCO's"
    numbered = tuple(Category(i, f"class {i}") for i in range(1, number + 1))
    return numbered, "numbered; use --classes or --annotations to name them"


def coco_classes() -> tuple[Category, ...]:
    """COCO's 80 classes by ascending id, which is their label order."""
    text = resources.files("mimdet_cli.data").joinpath("coco_classes.yaml").read_text("utf-8")
    return tuple(Category(number, name) for number, name in yaml.safe_load(text).items())


def _from_lines(file: Path) -> list[Category]:
    names = [line.strip() for line in _read(file).splitlines() if line.strip()]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise DataError(
            f"duplicate class names: {first_of(duplicates, SHOWN)}.",
            where=str(file),
            fix="write one distinct name per line.",
        )
    return [Category(i, name) for i, name in enumerate(names, 1)]


def _checked(categories: list[Category], number: int, file: Path) -> tuple[Category, ...]:
    if len(categories) != number:
        raise DataError(
            f"the checkpoint has {number} classes, but this file names {len(categories)}.",
            where=str(file),
            fix="use the file of the data set that the checkpoint was trained on.",
        )
    return tuple(categories)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read the file: {error}.", where=str(file), fix="give a readable text file."
        ) from error
