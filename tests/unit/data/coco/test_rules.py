"""The table of rules, and how what they find is reported."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from mimdet_cli.data.coco.findings import Findings, Rule
from mimdet_cli.data.coco.reader import read_classes, read_ground_truth, read_lists
from mimdet_cli.data.coco.records import KEYS, Purpose
from mimdet_cli.data.coco.rules import RULES
from mimdet_cli.errors import DataError

TRUTH = {
    "images": [{"id": 1, "height": 8, "width": 10}],
    "categories": [{"id": 3, "name": "cell"}, {"id": 2, "name": "rod"}],
    "annotations": [{"image_id": 1, "category_id": 3, "bbox": [2, 1, 0, 4]}],
}


def short(name: str, severity: Any, find: Callable[[int], list[str]]) -> Rule:
    """A rule on numbers."""
    return Rule(
        name, "number", frozenset({"test"}), find, f"{name} ({{count}}): {{cases}}.", "x", severity
    )


def test_every_rule_has_a_name_of_its_own_known_purposes_and_tells_its_cases() -> None:
    assert len(RULES) >= 15
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert set(KEYS) == set(get_args(Purpose))
    for rule in RULES:
        assert rule.subject in ("entry", "image", "annotation", "document")
        assert rule.purposes
        assert rule.purposes <= set(KEYS)
        message = rule.says.format(cases="image 7", count=1)
        assert "image 7" in message or rule.name == "boxes-alone"
        assert rule.fix.endswith((".", "?"))
        assert rule.find.__doc__


def test_findings_are_reported_in_the_order_of_the_rules_and_notes_refuse_nothing() -> None:
    odd = short("odd", "error", lambda n: [f"{n}"] if n % 2 else [])
    large = short("large", "dropped", lambda n: [f"{n}"] if n > 90 else [])
    round_ = short("round", "note", lambda n: [f"{n}"] if n % 10 == 0 else [])
    findings = Findings([odd, large, round_])
    used = [n for n in (100, 10, 3, 4, 5, 99) if findings.apply("number", n)]
    assert used == [10, 4]
    assert findings.notes() == ("large (2): 100, 99.", "round (1): 10.")  # 100 was dropped before
    with pytest.raises(DataError) as caught:
        findings.refuse({"file": Path("numbers.txt")})
    (error,) = caught.value.each()
    assert (error.what, error.where, error.fix) == ("odd (3): 3, 5, 99.", "numbers.txt", "x")


def test_nothing_found_refuses_nothing() -> None:
    findings = Findings(RULES)
    findings.refuse({})
    assert findings.notes() == ()


@pytest.mark.parametrize("read", [read_lists, read_ground_truth, read_classes])
def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    file = tmp_path / "truth.json"
    file.write_bytes(codecs.BOM_UTF8 + json.dumps(TRUTH).encode())
    assert read(file)


def test_ground_truth_may_have_what_pycocotools_tolerates(tmp_path: Path) -> None:
    """No ids, no masks, boxes without area, records of unknown images, repeated ids."""
    file = tmp_path / "truth.json"
    stray = {"image_id": 77, "category_id": 5, "bbox": [0, 0, 1, 1], "id": 1, "extra": {}}
    content = TRUTH | {"annotations": [*TRUTH["annotations"], stray, stray]}
    file.write_text(json.dumps(content))
    assert read_ground_truth(file) == content


def test_classes_are_read_by_ascending_id_without_the_other_lists(tmp_path: Path) -> None:
    file = tmp_path / "classes.json"
    file.write_text(json.dumps({"categories": TRUTH["categories"]}))
    assert [(one.id, one.name) for one in read_classes(file)] == [(2, "rod"), (3, "cell")]
    file.write_text(json.dumps({"categories": [{"id": 2, "name": "a"}, {"id": 2, "name": "b"}]}))
    with pytest.raises(DataError) as caught:
        read_classes(file)
    assert caught.value.what == "Ids used more than once (1): category 2."
