"""The records of a COCO file on their way from JSON to rows: what rules are asked of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mimdet_cli.data.sample import Category

Kind = Literal["category", "image", "annotation", "entry"]
Record = dict[str, Any]
Box = tuple[float, float, float, float]
Types = tuple[type, ...] | None
"""The types that a value may have; None is any."""


@dataclass(slots=True, eq=False)
class Entry:
    """A value of one of the lists as it stands in the file, and the keys that it should have."""

    kind: Kind
    position: int
    record: Any
    keys: Mapping[str, Types]

    @property
    def name(self) -> str:
        """How the user can find it: `image 7`, `image at position 3`, or `entry 3` of results."""
        if self.kind == "entry":
            return f"entry {self.position}"
        if isinstance(self.record, dict) and "id" in self.record:
            return f"{self.kind} {self.record['id']}"
        return f"{self.kind} at position {self.position}"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An entry of 'images'."""

    id: int
    file: str
    height: int
    width: int


@dataclass(slots=True, eq=False)
class Annotation:
    """An annotation or a result, with what could be made of it.

    `image` and `label` are the positions of what it names, None where that is not known, `size`
    the (height, width) of the image; `box` is x0, y0, x1, y1, None where it is no box; `stored` is
    the mask and `area` its area. `unreadable` says why there is no mask where there should be. An
    annotation without a mask has area 1, so that its box decides.
    """

    entry: Entry
    image: int | None
    label: int | None
    size: tuple[int, int] | None
    box: Box | None
    stored: bytes = b""
    area: float = 1.0
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """A usable annotation: image and label by position, box clipped to the image, mask stored."""

    id: int
    image: int
    label: int
    box: Box
    crowd: bool
    stored: bytes


@dataclass(frozen=True, slots=True)
class Document:
    """A file as a whole, after its records: ids of every list and images that are good so far.

    `boxes_alone` tells that masks were asked for and no annotation has one.
    """

    folder: Path | None
    lists: Mapping[str, Sequence[Any]]
    ids: Mapping[Kind, Sequence[Any]]
    images: Sequence[ImageRow]
    categories: Sequence[Category]
    boxes_alone: bool = False
