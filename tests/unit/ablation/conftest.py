"""Ablations of the tiny recipe, written to a file and planned."""

import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from mimdet_cli.ablation.definition import Request
from mimdet_cli.ablation.plan.make import Plan, make_plan

Planned = Callable[..., Plan]


@pytest.fixture
def write(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write an ablation of `tiny.yaml` into `mine.yaml` of the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny, "tiny.yaml")

    def to_file(text: str) -> str:
        head = "question: Does it matter?\nbase: tiny.yaml\n"
        Path("mine.yaml").write_text(head + textwrap.dedent(text))
        return "mine.yaml"

    return to_file


@pytest.fixture
def planned(write: Callable[[str], str], shapes: Path) -> Planned:
    """The plan of an ablation of the tiny recipe on the generated shapes."""

    def plan(text: str, **changes: object) -> Plan:
        given = {"data": shapes, "out": Path("out"), **changes}
        return make_plan(Request(write(text), **given))

    return plan
