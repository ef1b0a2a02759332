"""Every promise is broken by one backbone, and by no other promise's."""

import logging
import random
import warnings

import numpy as np
import pytest
import torch
from unit.conformance.wrong_backbones import INSTANCES, WRONG, Right, Samples

from mimdet_cli.conformance.surroundings import preserved, read_all
from mimdet_cli.plugin_api import check_backbone, promises

UNUSED = 40_961  # a seed that no other test uses


@pytest.mark.parametrize("kind", [Right, Samples])
def test_a_right_backbone_keeps_every_promise_and_says_what_was_measured(kind):
    report = check_backbone(kind)
    assert report.broken == [], "\n".join(report.lines())
    assert report.kept
    assert all(outcome.finding.measured for outcome in report.outcomes)


def test_every_promise_has_a_backbone_that_breaks_it():
    names = [promise.name for promise in promises()]
    assert len(names) == len(set(names)) >= 17
    assert {wrong.promise for wrong in WRONG} == set(names)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.kind.__name__)
def test_a_wrong_backbone_breaks_its_promise_alone_and_the_numbers_are_reported(wrong, capfd):
    before = read_all()
    report = check_backbone(wrong.kind)
    INSTANCES.clear()
    assert report.broken == [wrong.promise], "\n".join(report.lines())
    found = next(one for one in report.outcomes if one.promise.name == wrong.promise)
    findings = "\n".join(found.finding.broken)
    assert [words for words in wrong.words if words not in findings] == [], findings
    assert found.promise.fix in "\n".join(report.lines())
    assert report.error().exit_code == 5
    assert wrong.promise in report.error().what
    assert read_all() == before
    assert capfd.readouterr() == ("", "")


def test_whatever_is_changed_inside_is_put_back():
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    before = read_all()
    with preserved():
        torch.manual_seed(UNUSED)
        random.seed(UNUSED)
        np.random.seed(UNUSED)
        torch.set_default_dtype(torch.float64)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        torch.set_grad_enabled(False)
        warnings.simplefilter("ignore")
        logging.getLogger().setLevel(logging.DEBUG)
        assert len([name for name, value in read_all().items() if value != before[name]]) == 10
    assert read_all() == before
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[1:]
