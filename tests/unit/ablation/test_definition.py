"""Ablations are found by name or file; mistakes in them carry file and line."""

import pytest

from mimdet_cli.ablation.definition import Higher, find_ablation, read_definition, shipped_ablations
from mimdet_cli.errors import RecipeError
from mimdet_cli.evaluation.metrics import METRICS


def test_every_shipped_ablation_is_read():
    names = shipped_ablations()
    assert len(names) >= 15
    for name in names:
        ablation = read_definition(name).ablation
        assert ablation.question.endswith("?"), name
        assert ablation.axes or ablation.variants or ablation.evaluate.variants, name


def test_name_is_the_file_and_lines_are_known(write):
    source = read_definition(write("axes:\n  backbone.p5: [max, mean]\n"))
    assert source.name == "mine"
    assert str(source.origin("axes", "backbone.p5")) == "mine.yaml, line 4"
    assert str(source.origin("seeds")) == "default"


def test_recipe_beside_the_ablation_comes_before_a_shipped_one(write, tmp_path):
    source = read_definition(write(""))
    assert source.recipe("tiny.yaml") == find_ablation("mine.yaml").parent / "tiny.yaml"
    assert source.recipe("base_50pct") == "base_50pct"


def test_rule_of_a_claim_is_of_the_kind_that_it_names(write):
    claim = "claims: [{says: yes, rule: {kind: higher, cell: a, than: b}}]"
    assert read_definition(write(claim.replace("yes", "so"))).ablation.claims[0].rule == Higher(
        kind="higher", cell="a", than="b", by=0.0
    )


def refused(text):
    with pytest.raises(RecipeError) as caught:
        read_definition(text)
    return [(one.what, one.where, one.fix) for one in caught.value.each()]


def test_unknown_name_names_its_neighbour():
    assert refused("sampling-rato") == [
        ("there is no ablation 'sampling-rato'.", "", "did you mean 'sampling-ratio'?")
    ]


def test_misspelt_keys_are_reported_together_with_their_lines(write):
    assert refused(write("metrix: [box_ap]\nevaluate: {axis: {}}\n")) == [
        ("'metrix' is not an ablation key.", "mine.yaml, line 3", "did you mean 'metrics'?"),
        ("'evaluate.axis' is not an ablation key.", "mine.yaml, line 4", "did you mean 'axes'?"),
    ]


def test_every_metric_may_be_asked_for_claimed_plotted_and_published(write):
    assert len(METRICS) >= 29
    for key, metric in METRICS.items():
        claim = f"claims: [{{says: so, metric: {key}, rule: {{kind: falls, cells: [a, b]}}}}]"
        paper = f"paper: {{a: {{{metric.paper.field}: 1.5}}}}"
        ablation = read_definition(
            write(f"metrics: [{key}]\nplot: {key}\n{claim}\n{paper}\n")
        ).ablation
        assert (ablation.metrics, ablation.plot, ablation.claims[0].metric) == ((key,), key, key)
        assert ablation.paper["a"].value(metric.paper.field) == 1.5


def test_unknown_metric_names_its_neighbour(write):
    ((what, where, fix),) = refused(write("metrics: [box_ap, box_sp50]\n"))
    assert (what, where) == ("item 2 of 'metrics' cannot be 'box_sp50'.", "mine.yaml, line 3")
    assert fix.startswith("did you mean 'box_ap50'? Give one of box_ap, box_ap50, box_ap75, ")


def test_axis_without_values_is_refused(write):
    ((what, where, _),) = refused(write("axes: {backbone.p5: []}\n"))
    assert what == "'axes.backbone.p5' cannot be []."
    assert where == "mine.yaml, line 3"
