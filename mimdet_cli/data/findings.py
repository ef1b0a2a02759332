"""What is wrong with an annotation file, by kind, so that one run names all of it.

Each kind becomes one error that names its first ten cases and counts the rest.
"""

from enum import Enum
from pathlib import Path

from mimdet_cli.errors import DataError

NAMED = 10


class Problem(Enum):
    """What is wrong, and how to mend it."""

    NOT_A_RECORD = ("Entries that are not records", "every entry is an object { ... }.")
    MISSING_KEY = ("Records without a needed key", "add the key.")
    WRONG_VALUE = ("Records with a value of the wrong kind", "correct the value.")
    DUPLICATE_ID = ("Ids that occur more than once", "give every record its own id.")
    UNKNOWN_IMAGE = (
        "Annotations whose image_id is not in 'images'",
        "add the image, or remove the annotations.",
    )
    UNKNOWN_CATEGORY = (
        "Annotations whose category_id is not in 'categories'",
        "add the category, or remove the annotations.",
    )
    BAD_BOX = (
        "Boxes that are not x, y, width, height with finite numbers and a size of 0 or more",
        "correct 'bbox', or remove the annotations.",
    )
    BAD_SEGMENTATION = (
        "Segmentations that cannot be read",
        "correct 'segmentation', or remove the annotations.",
    )
    NO_MASK = (
        "Annotations with a box but no segmentation",
        "set head.mask=false to train boxes only, or add the masks.",
    )
    MISSING_FILE = (
        "Image files that are not in the image folder",
        "put them there, or correct 'file_name' or the folder.",
    )


class Findings:
    """Collects problems while a file is read."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.cases: dict[Problem, list[str]] = {}
        self.counts: dict[Problem, int] = {}

    def add(self, problem: Problem, case: str) -> None:
        """One more case of a problem, named as the user can find it."""
        cases = self.cases.setdefault(problem, [])
        if len(cases) < NAMED:
            cases.append(case)
        self.counts[problem] = self.counts.get(problem, 0) + 1

    def errors(self, places: dict[Problem, Path]) -> list[DataError]:
        """One error per kind; `places` says where a kind is found if not in the file."""
        return [
            DataError(
                f"{problem.value[0]} ({self.counts[problem]}): "
                f"{listed(self.cases[problem], self.counts[problem])}.",
                where=str(places.get(problem, self.file)),
                fix=problem.value[1],
            )
            for problem in Problem
            if problem in self.counts
        ]


def listed(cases: list[str], count: int) -> str:
    """The first ten cases, and how many more there are."""
    named = ", ".join(cases[:NAMED])
    return f"{named} and {count - NAMED} more" if count > NAMED else named
