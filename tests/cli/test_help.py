"""The whole help text of every verb, at 80 columns; a change is deliberate.

The texts are kept in `help/`; rewrite one with `COLUMNS=80 mimdet VERB --help > FILE`.
"""

from pathlib import Path

import pytest
from typer.main import get_command

from mimdet_cli.app import app

TEXTS = sorted((Path(__file__).parent / "help").glob("*.txt"))


def verbs(command, path=()):
    yield " ".join(path)
    for name, child in getattr(command, "commands", {}).items():
        yield from verbs(child, (*path, name))


def arguments_of(text: Path) -> list[str]:
    return [] if text.stem == "mimdet" else text.stem.split("-")


def test_every_verb_has_its_help_kept():
    assert len(TEXTS) >= 12
    assert sorted(" ".join(arguments_of(text)) for text in TEXTS) == sorted(verbs(get_command(app)))


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_help_is_the_kept_text(mimdet, monkeypatch, text):
    monkeypatch.setenv("COLUMNS", "80")
    outcome = mimdet(*arguments_of(text), "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == text.read_text()


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text.stem)
def test_help_shows_an_example_of_its_own_verb(text):
    _, _, examples = text.read_text().partition("Examples:\n")
    assert " ".join(["    mimdet", *arguments_of(text)]) in examples


@pytest.mark.parametrize("group", [(), ("recipe",), ("data",)])
def test_verb_is_asked_for_with_the_help_and_a_usage_error(mimdet, group):
    outcome = mimdet(*group)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.strip() == mimdet(*group, "--help").out.strip()
