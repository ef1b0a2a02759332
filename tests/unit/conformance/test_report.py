"""What a check shows: lines for a person, JSON for a script, an error for the exit code."""

import json
import re

import pytest
from unit.conformance.wrong_backbones import (
    DeclaresOtherStrides,
    DrawsInEvaluation,
    RaisesWhenBuilt,
    Right,
)

from mimdet_cli import plugins
from mimdet_cli.conformance.check import check, check_backbone
from mimdet_cli.errors import PluginError, RecipeError
from mimdet_cli.plugin_api import promises


def named(report, name):
    return next(one for one in report.outcomes if one.promise.name == name)


def test_what_may_follow_from_another_broken_promise_is_unclear_and_not_broken():
    report = check_backbone(DrawsInEvaluation)
    outcome = named(report, "batch")
    assert (outcome.status, outcome.because) == ("unclear", "determinism")
    assert outcome.finding.broken
    assert report.broken == ["determinism"]
    lines = "\n".join(report.lines())
    assert re.search(
        r"^unclear  batch .* cannot be judged until 'determinism' is kept$", lines, re.M
    )


def test_a_backbone_that_cannot_be_built_leaves_the_other_promises_unclear():
    report = check_backbone(RaisesWhenBuilt)
    assert report.broken == ["builds"]
    assert {one.status for one in report.outcomes[1:]} == {"unclear"}
    assert {one.because for one in report.outcomes[1:]} == {"builds"}
    assert report.to_json()["options"] is None


def test_json_holds_every_promise_with_its_findings():
    found = json.loads(json.dumps(check_backbone(DeclaresOtherStrides, {"width": 8}).to_json()))
    assert found["backbone"] == "DeclaresOtherStrides"
    assert (found["kept"], found["tiny"]) == (False, False)
    assert found["options"] == {"width": 8}
    assert [one["name"] for one in found["promises"]] == [one.name for one in promises()]
    by_name = {one["name"]: one for one in found["promises"]}
    assert by_name["levels"]["status"] == "broken"
    assert "'p2': 8" in by_name["levels"]["broken"][0]
    assert by_name["levels"]["fix"]
    assert by_name["inputs"] | {"seconds": 0} == {
        "name": "inputs",
        "sentence": "a forward pass does not modify images or sizes",
        "status": "kept",
        "measured": "images and sizes",
        "broken": [],
        "because": None,
        "fix": None,
        "seconds": 0,
    }


def test_wrong_options_of_the_caller_are_the_callers_mistake():
    with pytest.raises(RecipeError, match=r"'backbone\.width'"):
        check_backbone(Right, {"width": 0})


def test_wrong_options_on_the_command_line_name_where_they_were_given():
    with pytest.raises(RecipeError) as caught:
        check("mimdet", ["width=17", "hight=3"])
    assert {one.where for one in caught.value.each()} == {"--set width=17", "--set hight=3"}


def test_an_unknown_name_is_an_error_and_not_a_report():
    with pytest.raises(PluginError, match="there is no backbone called 'vitdett'"):
        check("vitdett")


def test_a_backbone_that_cannot_be_loaded_breaks_the_promise_to_build(monkeypatch):
    def broken(name):
        raise PluginError("the backbone 'vitdet' cannot be loaded: ImportError: no swin")

    monkeypatch.setattr(plugins, "load", broken)
    report = check("vitdet")
    assert report.broken == ["builds"]
    assert "ImportError: no swin" in named(report, "builds").finding.broken[0]
    assert report.error().exit_code == 5
    assert "backbones.vitdet:ViTDet of mimdet" in report.error().where


def test_what_an_import_changes_for_everybody_breaks_the_promise_of_globals(monkeypatch):
    import torch

    def careless(name):
        torch.set_default_dtype(torch.float64)
        return Right

    monkeypatch.setattr(plugins, "load", careless)
    monkeypatch.setattr(plugins, "options_registration", lambda registration: None)
    report = check("vitdet")
    assert report.broken == ["globals"]
    assert named(report, "globals").finding.broken == (
        "importing it: default dtype torch.float32 became torch.float64",
    )
    assert torch.get_default_dtype() == torch.float32


def test_a_single_promise_raises_an_assertion_error_with_its_numbers():
    by_name = {one.name: one for one in promises()}
    by_name["levels"].check(Right, {"width": 8})
    with pytest.raises(AssertionError) as caught:
        by_name["levels"].check(DeclaresOtherStrides)
    first, finding, fix = str(caught.value).splitlines()
    assert first.startswith("DeclaresOtherStrides breaks the promise 'levels': p2 to p5 have")
    assert finding.startswith("levels have the strides {'p2': 8")
    assert fix.startswith("fix: ")


@pytest.mark.parametrize("promise", promises()[:2])
def test_pytest_calls_a_test_by_its_promise(promise, request):
    assert request.node.name.endswith(f"[{promise.name}]")
