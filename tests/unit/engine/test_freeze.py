"""Freezing by name, and what frozen batch norms do."""

import pytest
import torch
from torch import nn

from mimdet_cli.engine.freeze import freeze, to_training_mode
from mimdet_cli.errors import RecipeError


def net():
    return nn.ModuleDict(
        {
            "backbone": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)),
            "head": nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)),
        }
    )


def test_only_matching_parameters_stop_learning():
    model = net()
    freeze(model, [r"backbone\..*"])
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"head.0.weight", "head.0.bias", "head.1.weight", "head.1.bias"}


def test_frozen_batch_norms_keep_their_statistics_and_others_do_not():
    model = net()
    freeze(model, [r"backbone\..*"])
    to_training_mode(model)
    x = torch.randn(2, 3, 4, 4) + 5
    model["head"](model["backbone"](x))
    assert torch.equal(model["backbone"][1].running_mean, torch.zeros(4))
    assert not torch.equal(model["head"][1].running_mean, torch.zeros(4))


def test_a_pattern_without_a_match_and_a_broken_one_are_both_named():
    with pytest.raises(RecipeError) as caught:
        freeze(net(), [r"backbon\.0\.weight", "("])
    texts = [str(error) for error in caught.value.each()]
    assert len(texts) == 2
    assert "matches no parameter" in texts[0]
    assert "'backbone.0.weight'" in texts[0]
    assert "not a regular expression" in texts[1]


def test_freezing_everything_is_refused():
    with pytest.raises(RecipeError, match="nothing to train"):
        freeze(net(), [".*"])


class Kept(nn.BatchNorm2d):
    """A batch norm that learns its weights but keeps its statistics, in any mode."""

    def train(self, mode=True):
        return super().train(False)


def test_statistics_that_a_module_keeps_of_its_own_accord_stay_kept():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), Kept(4), nn.BatchNorm2d(4))
    to_training_mode(model)
    assert [module.training for module in model] == [True, False, True]
