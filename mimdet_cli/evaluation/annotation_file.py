"""Read a COCO annotation file for scoring."""

from pathlib import Path
from typing import Any, Final

from mimdet_cli.errors import DataError
from mimdet_cli.evaluation.json_file import box_problem, describe, joined, read_json

REQUIRED: Final = {
    "images": ("id", "height", "width"),
    "annotations": ("image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
FIX: Final = "give the COCO file with the ground truth, for example 'instances_val2017.json'."


def read_annotations(path: Path) -> dict[str, Any]:
    """The content of an annotation file whose entries have all that scoring needs."""
    content = read_json(path)
    missing = [
        f"'{key}'"
        for key in REQUIRED
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if missing:
        raise DataError(
            f"not a COCO annotation file: it has no list {' and no list '.join(missing)}.",
            where=str(path),
            fix=FIX,
        )
    problems = [
        DataError(what, where=f"{path}, {section} entry {index}")
        for section in REQUIRED
        for index, entry in enumerate(content[section])
        for what in _problems(entry, section)
    ]
    if problems:
        raise joined(problems, path, FIX)
    return content


def _problems(entry: object, section: str) -> list[str]:
    if not isinstance(entry, dict):
        return [f"an entry is an object; this is {describe(entry)}."]
    absent = [f"'{key}'" for key in REQUIRED[section] if key not in entry]
    if absent:
        return [f"{', '.join(absent)} missing."]
    problem = box_problem(entry["bbox"]) if section == "annotations" else None
    return [problem] if problem else []
