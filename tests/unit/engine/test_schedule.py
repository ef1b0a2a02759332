"""Learning rate and length of a run as functions of the recipe."""

import math

import pytest

from mimdet_cli.engine.schedule import Schedule, scaled_lr, total_steps
from mimdet_cli.recipe.schema import Optimizer, Recipe, Train


def recipe(train=None, **optimizer) -> Recipe:
    return Recipe(
        train=Train(**{"epochs": 12, "batch": 16, **(train or {})}),
        optimizer=Optimizer(**{"lr": 8e-5, "base_batch": 64, **optimizer}),
    )


@pytest.mark.parametrize(("scale", "factor"), [("sqrt", 0.5), ("linear", 0.25), ("none", 1.0)])
def test_learning_rate_follows_the_batch(scale, factor):
    assert scaled_lr(recipe(scale=scale)) == pytest.approx(8e-5 * factor)
    assert scaled_lr(recipe({"batch": 64}, scale=scale)) == 8e-5


@pytest.mark.parametrize("batch", [1, 4, 16, 60, 64, 256])
def test_images_seen_do_not_depend_on_the_batch(batch):
    length = total_steps(recipe({"batch": batch}), train_images=1000)
    assert abs(length * batch - 12_000) <= batch / 2


def test_epoch_may_be_given_in_images():
    run = recipe({"epochs": 36, "epoch_images": 120_000, "batch": 64})
    assert total_steps(run, train_images=7) == 67_500


def test_fractions_of_an_epoch_give_at_least_one_step():
    assert total_steps(recipe({"epochs": 0.5}), train_images=64) == 2
    assert total_steps(recipe({"epochs": 0.01}), train_images=64) == 1


def test_steps_are_taken_as_given():
    assert total_steps(recipe({"epochs": None, "steps": 9}), train_images=1000) == 9


def test_warmup_is_a_line_from_its_factor_to_the_whole_rate():
    schedule = Schedule.of(recipe(warmup_images=160, warmup_factor=0.1), steps=100)
    assert schedule.warmup == 10
    assert [schedule(step) for step in (0, 5, 10, 11)] == pytest.approx([0.1, 0.55, 1, 1])


def test_warmup_takes_at_most_half_of_the_run():
    schedule = Schedule.of(recipe(warmup_images=1e6), steps=20)
    assert [schedule(step) for step in (0, 5, 10)] == pytest.approx([0, 0.5, 1])


def test_run_without_warmup_starts_at_the_whole_rate():
    assert Schedule.of(recipe(warmup_images=0), steps=20)(0) == 1


@pytest.mark.parametrize("batch", [4, 16, 64])
def test_warmup_covers_the_same_images_at_any_batch(batch):
    run = recipe({"batch": batch}, warmup_images=1600)
    assert Schedule.of(run, steps=10_000).warmup * batch == 1600


def test_milestones_are_shares_of_the_run_in_any_order():
    run = recipe(warmup_images=0, milestones=(0.9, 0.5), gamma=0.1)
    schedule = Schedule.of(run, steps=200)
    values = [schedule(step) for step in (99, 100, 179, 180, 199)]
    assert values == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_falls_to_zero_and_continues_the_warmup_without_a_jump():
    schedule = Schedule.of(recipe(schedule="cosine", warmup_images=160), steps=100)
    assert schedule(50) == pytest.approx(0.5)
    assert schedule(100) == pytest.approx(0, abs=1e-12)
    assert schedule(10) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.1)))
    assert schedule(10) - schedule(10 - 1e-9) < 1e-9
    falling = [schedule(step) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)
