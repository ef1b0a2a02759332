"""The records of a COCO file on their way from JSON to rows: what the rules check."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from mimdet_cli.data.annotations import Category

Purpose = Literal["boxes", "masks", "scoring", "results", "classes"]
"""What a file is read for.

"boxes" and "masks" are splits to train on and to score, by what is learned; "scoring" is ground
truth, which may be anything that pycocotools can score; "results" are predictions to be scored;
"classes" reads the names of the classes alone.
"""
Kind = Literal["category", "image", "annotation", "entry"]
Record = dict[str, Any]
Box = tuple[float, float, float, float]
Types = tuple[type, ...] | None
"""The types that a value may have; None is any."""

WHOLE: Final = (int,)
NUMBER: Final = (int, float)
TEXT: Final = (str,)
ANY_ID: Final = (int, float, str)

SPLIT_KEYS: Final[Mapping[Kind, Mapping[str, Types]]] = {
    "category": {"id": WHOLE, "name": TEXT},
    "image": {"id": WHOLE, "file_name": TEXT, "height": WHOLE, "width": WHOLE},
    "annotation": {"id": WHOLE, "image_id": WHOLE, "category_id": WHOLE, "bbox": (list,)},
}
KEYS: Final[Mapping[Purpose, Mapping[Kind, Mapping[str, Types]]]] = {
    "boxes": SPLIT_KEYS,
    "masks": SPLIT_KEYS,
    "classes": SPLIT_KEYS,
    "scoring": {
        "category": {"id": ANY_ID, "name": None},
        "image": {"id": ANY_ID, "height": WHOLE, "width": WHOLE},
        "annotation": {"image_id": ANY_ID, "category_id": ANY_ID, "bbox": None},
    },
    "results": {
        "entry": {"image_id": WHOLE, "category_id": WHOLE, "score": NUMBER},
    },
}
"""What every record needs, by purpose and list."""


@dataclass(slots=True, eq=False)
class CocoEntry:
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
class CocoAnnotation:
    """An annotation or a result, with what could be made of it.

    `image` and `label` are the positions of what it names, None where that is not known, `size` the
    (height, width) of the image; `box` is x0, y0, x1, y1, None where it is not a box; `stored` is
    the mask and `area` its area. `unreadable` says why there is no mask where there should be. An
    annotation without a mask has area 1, so that its box decides.
    """

    entry: CocoEntry
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
class CocoDocument:
    """A file as a whole, after its records: ids of every list and images that are good so far.

    `boxes_alone` tells that masks were asked for and no annotation has one.
    """

    folder: Path | None
    lists: Mapping[str, Sequence[Any]]
    ids: Mapping[Kind, Sequence[Any]]
    images: Sequence[ImageRow]
    categories: Sequence[Category]
    boxes_alone: bool = False
