"""A third party's backbone that names its shares of tokens otherwise is evaluated as ours are."""

import json

import pytest
import yaml

from mimdet_cli import plugins
from mimdet_cli.plugins import Registration

HALVES = Registration("halves", "mimdet-halves", "1.0", "unit.conformance.wrong_backbones:Samples")


@pytest.fixture
def recipe(tiny, tmp_path, monkeypatch):
    """The tiny recipe on a backbone with the options `kept` and `kept_later`."""
    found = plugins.registrations

    def registrations(group=plugins.GROUP):
        return [*found(group), *([HALVES] if group == plugins.GROUP else [])]

    monkeypatch.setattr(plugins, "registrations", registrations)
    values = yaml.safe_load(tiny.read_text())
    values["backbone"] = {"name": "halves", "width": 16, "kept_later": 0.75}
    values["train"] |= {"steps": 1, "evals": 0, "saves": 1}
    file = tmp_path / "halves.yaml"
    file.write_text(yaml.safe_dump(values))
    return file


def test_eval_takes_ratio_and_evals(mimdet, recipe, shapes, tmp_path):
    run = tmp_path / "run"
    outcome = mimdet("train", recipe, "--data", shapes, "--out", run)
    assert outcome.code == 0, outcome.err
    (line,) = [json.loads(one) for one in (run / "metrics.jsonl").read_text().splitlines()]
    assert (line["tokens_seen"], line["tokens"]) == (2 * 2, 2 * 4)  # half of 64 x 64 pixels
    outcome = mimdet("eval", run, "--ratio", "0.5", "--evals", "2", "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert (report["ratio"], report["evals"]) == (0.5, 2)
    assert report["folder"].endswith("last-ratio0.5-evals2")
    outcome = mimdet("eval", run, "--json")
    assert json.loads(outcome.out)["ratio"] == 0.75


def test_its_own_names_are_in_the_messages(mimdet, recipe, shapes, tmp_path):
    run = tmp_path / "run"
    assert mimdet("train", recipe, "--data", shapes, "--out", run).code == 0
    outcome = mimdet("eval", run, "--ratio", "0.5", "--set", "backbone.kept_later=0.25")
    assert (outcome.code, outcome.err) == (
        2,
        "error: the ratio 0.5 and an override both set 'backbone.kept_later'.\n  at:  ratio\n"
        "  fix: omit one of them.\n",
    )
    outcome = mimdet("eval", run, "--ratio", "1", "--evals", "2")
    assert outcome.code == 2
    assert "the backbone sees every token (kept_later 1)" in outcome.err


def test_profile_counts_with_its_shares(mimdet, recipe):
    outcome = mimdet("profile", recipe, "--size", "64x64", "--ratio", "0.5", "--json")
    assert outcome.code == 0, outcome.err
    setting = json.loads(outcome.out)
    assert (setting["eval_ratio"], setting["train_ratio"]) == (0.5, 0.5)
    outcome = mimdet("profile", recipe, "--size", "64x64", "--json")
    setting = json.loads(outcome.out)
    assert (setting["eval_ratio"], setting["train_ratio"]) == (0.75, 0.5)
