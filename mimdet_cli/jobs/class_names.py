"""Names for the classes of a released checkpoint, which holds their number only."""

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
    """The classes in the order of the labels, and a few words on where their names are from.

    `names` is a text file of one name per line, `annotations` a COCO file whose classes are taken
    by ascending id; without either, 80 classes are COCO's and others are numbered.
    """
    if names is not None:
        return _fitting(_from_lines(names), number, names), f"named by {names}"
    if annotations is not None:
        return _fitting(read_classes(annotations), number, annotations), f"named by {annotations}"
    if number == COCO:
        return coco_classes(), "COCO's"
    numbered = tuple(Category(i, f"class {i}") for i in range(1, number + 1))
    return numbered, "numbered, since no file names them (--classes or --annotations)"


def coco_classes() -> tuple[Category, ...]:
    """COCO's 80 classes by ascending id: the labels of every model trained on it."""
    text = resources.files("mimdet_cli.data").joinpath("coco_classes.yaml").read_text("utf-8")
    return tuple(Category(number, name) for number, name in yaml.safe_load(text).items())


def _from_lines(file: Path) -> list[Category]:
    names = [line.strip() for line in _read(file).splitlines() if line.strip()]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(
            f"classes are named twice: {first_of(doubled, SHOWN)}.",
            where=str(file),
            fix="write one name per line, each once.",
        )
    return [Category(i, name) for i, name in enumerate(names, 1)]


def _fitting(found: list[Category], number: int, file: Path) -> tuple[Category, ...]:
    if len(found) != number:
        raise DataError(
            f"the checkpoint has {number} classes, this file names {len(found)}.",
            where=str(file),
            fix="give the file of the data that the checkpoint was trained on.",
        )
    return tuple(found)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"it cannot be read: {error}.", where=str(file), fix="give a readable text file."
        ) from error
