"""One optimizer step of the real detector on real batches."""

import math

import pytest
import torch
from detectors import completed, detector_of

from mimdet_cli.build import build_state, build_step, read_split, step_batches
from mimdet_cli.data.batch import Batch
from mimdet_cli.data.loader import TrainImages
from mimdet_cli.data.order import ImageUse
from mimdet_cli.engine.optimizer_state import collect
from mimdet_cli.engine.state import TrainState
from mimdet_cli.errors import DivergedError

CPU = torch.device("cpu")


class Bench:
    """A tiny run that is stepped by hand."""

    def __init__(self, tiny, shapes, *overrides) -> None:
        self.recipe = completed(tiny, *overrides, data=shapes)
        self.split = read_split(self.recipe.data, "train", need_masks=True)
        detector = detector_of(self.recipe, classes=len(self.split.categories))
        self.state: TrainState = build_state(self.recipe, detector, CPU)
        self.step = build_step(self.recipe, steps=10, device=CPU)

    def batches(self, steps: int = 1) -> list[list[Batch]]:
        return list(step_batches(self.recipe, self.split, CPU, 0, steps))

    def gradients(self) -> torch.Tensor:
        """The gradient of the only step so far: AdamW's first moment is a tenth of it."""
        moments = collect(self.state.model, self.state.optimizer).tensors
        return torch.cat([10 * m.flatten() for k, m in moments.items() if k.endswith("exp_avg")])


@pytest.fixture
def bench(tiny, shapes):
    return lambda *overrides: Bench(tiny, shapes, *overrides)


def test_step_reports_what_it_did(bench):
    one = bench()
    (parts,) = one.batches()
    report = one.step(one.state, parts)
    assert (report.step, one.state.step, report.images) == (1, 1, 2)
    assert report.tokens == (2 * 8, 2 * 16)  # half of the tokens of 64 x 64 pixels
    assert set(report.losses) == {
        "rpn_objectness", "rpn_box", "box_class", "box_regression", "mask"
    }  # fmt: skip
    assert report.loss == pytest.approx(sum(report.losses.values()))
    assert report.lr == one.step.lr * one.step.schedule(0)
    assert report.grad_norm is None


def test_step_is_a_function_of_state_batch_and_seed(bench):
    first, second, other = bench(), bench(), bench()
    for one, seed in ((first, 0), (second, 0), (other, 1)):
        torch.manual_seed(seed)  # what was drawn before does not matter
        (parts,) = first.batches()
        one.step(one.state, parts)
    assert torch.equal(first.gradients(), second.gradients())
    assert torch.equal(first.gradients(), other.gradients())


def test_randomness_differs_from_step_to_step(bench):
    one = bench("optimizer.lr=1e-30", "optimizer.warmup_images=0")
    (parts,) = one.batches()
    assert one.step(one.state, parts).losses != one.step(one.state, parts).losses


def test_two_parts_give_the_gradients_of_one_batch(bench):
    # everything that is drawn at random is drawn completely, and both images are the same
    certain = ("backbone.train_ratio=1", "backbone.drop_path=0", "head.rpn_batch=100000",
               "head.roi_batch=1000")  # fmt: skip
    whole, parted = bench(*certain), bench(*certain, "train.accumulate=2")
    sample = TrainImages(whole.split, whole.recipe.data, seed=0)[ImageUse(epoch=0, image=0)]
    whole.step(whole.state, [Batch.of([sample, sample])])
    report = parted.step(parted.state, [Batch.of([sample]), Batch.of([sample])])
    assert report.images == 2
    scale = whole.gradients().abs().max()
    assert scale > 0
    # sums in another order
    assert (whole.gradients() - parted.gradients()).abs().max() < 1e-4 * scale


def test_parts_of_a_step_hold_its_batch(bench):
    whole, parted = bench(), bench("train.accumulate=2")
    (one,), (two,) = whole.batches(), parted.batches()
    assert (len(one), len(two)) == (1, 2)
    assert [image_id for part in two for image_id in part.image_ids] == one[0].image_ids


def test_gradients_are_clipped_to_the_norm(bench):
    free, clipped = bench(), bench("train.clip=0.01")
    (parts,) = free.batches()
    free.step(free.state, parts)
    report = clipped.step(clipped.state, parts)
    assert report.grad_norm == pytest.approx(free.gradients().norm().item(), rel=1e-4)
    assert report.grad_norm > 0.01
    assert clipped.gradients().norm().item() == pytest.approx(0.01, rel=1e-3)


def test_bf16_stays_finite_and_keeps_weights_in_fp32(bench):
    one = bench("train.precision=bf16")
    for parts in one.batches(3):
        assert math.isfinite(one.step(one.state, parts).loss)
    assert {p.dtype for p in one.state.model.parameters()} == {torch.float32}
    assert all(p.isfinite().all() for p in one.state.model.parameters())


def test_fp16_falls_back_to_fp32_on_a_cpu(bench):
    half, single = bench("train.precision=fp16"), bench()
    assert half.step.precision == "fp32"
    (parts,) = half.batches()
    half.step(half.state, parts)
    single.step(single.state, parts)
    assert torch.equal(half.gradients(), single.gradients())


@pytest.mark.parametrize(
    ("broken", "what"),
    [
        ("rpn.deltas.bias", "the region proposals are not finite at step 1"),
        ("roi_heads.box_predictor", "the loss (rpn_objectness"),
    ],
)
def test_numbers_that_are_not_finite_end_the_run_and_name_the_images(bench, broken, what):
    one = bench()
    for name, parameter in one.state.model.named_parameters():
        if name.startswith(broken) or ("box" in name and broken.startswith("roi")):
            parameter.data.fill_(float("nan"))
    (parts,) = one.batches()
    with pytest.raises(DivergedError) as caught:
        one.step(one.state, parts)
    ids = ", ".join(map(str, parts[0].image_ids))
    assert caught.value.exit_code == 7
    assert caught.value.what.startswith(what)
    assert caught.value.what.endswith("not finite at step 1: training has diverged.")
    assert caught.value.where == f"image ids {ids}"
    assert "optimizer.lr" in caught.value.fix


def test_gradient_that_is_not_finite_is_caught_where_the_norm_is_known(bench):
    one = bench("train.clip=1")
    parameter = one.state.model.get_parameter("backbone.stem.to_tokens.bias")
    parameter.register_hook(lambda gradient: gradient * float("inf"))
    (parts,) = one.batches()
    with pytest.raises(DivergedError, match="the gradient norm"):
        one.step(one.state, parts)
