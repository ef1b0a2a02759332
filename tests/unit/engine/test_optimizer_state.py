"""Whatever an optimizer keeps is saved by name, and a checkpoint that lacks some is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mimdet_cli.engine.checkpoint import MANIFEST, OPTIMIZER, restore, save_step
from mimdet_cli.engine.state import TrainState
from mimdet_cli.errors import WeightsError

Make = Callable[[list], torch.optim.Optimizer]


class Counting(torch.optim.SGD):
    """SGD that also keeps what is no tensor, as Adam of early torch kept its step count."""

    def step(self, closure=None):
        super().step(closure)
        for group in self.param_groups:
            for p in (p for p in group["params"] if p.grad is not None):
                state = self.state[p]
                state["seen"] = state.get("seen", 0) + 1
                state["share"] = state.get("share", 0.1) / 3
                state["note"] = None
                state["warm"] = state["seen"] > 1
                state["signs"] = p.grad > 0  # of another type than its parameter


def adamw(groups):
    return torch.optim.AdamW(groups, lr=0.1, fused=True)


def amsgrad(groups):
    return torch.optim.AdamW(groups, lr=0.1, amsgrad=True, fused=True)


def sgd(groups):
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


OPTIMIZERS: list[tuple[Make, set[str]]] = [
    (adamw, {"step", "exp_avg", "exp_avg_sq"}),
    (amsgrad, {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"}),
    (sgd, {"momentum_buffer"}),
    (lambda groups: torch.optim.SGD(groups, lr=0.1), set()),
    (lambda g: Counting(g, lr=0.1, momentum=0.9), {"momentum_buffer", "signs"}),
    (lambda g: torch.optim.Adafactor(g, lr=0.1), {"step", "row_var", "col_var", "variance"}),
]


class Net(nn.Module):
    """Two layers that learn, one that does not, and one that the loss uses only if asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.frozen = nn.Conv2d(4, 4, 1).requires_grad_(False)
        self.last = nn.Conv2d(4, 2, 1)
        self.mask = nn.Conv2d(4, 1, 1, bias=False)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x, masks):
        x = self.frozen(self.first(x))
        loss = self.last(x).square().mean() * self.scale
        return loss + self.mask(x).square().mean() if masks else loss


def fresh(make: Make, seed: int = 1) -> TrainState:
    torch.manual_seed(seed)
    model = Net().to(memory_format=torch.channels_last)
    learning = [named for named in model.named_parameters() if named[1].requires_grad]
    optimizer = make([{"params": learning[:2]}, {"params": learning[2:], "lr": 0.01}])
    return TrainState(model, optimizer, torch.amp.GradScaler("cpu", enabled=False))


def train(state: TrainState, count: int, masks: bool = True) -> None:
    for _ in range(count):
        torch.manual_seed(state.step)
        state.model(torch.randn(5, 3, 4, 4), masks).backward()
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1


def saved(run: Path, make: Make, masks: bool = True) -> Path:
    state = fresh(make, seed=0)
    train(state, 2, masks)
    return save_step(run, state, {}, keep=1)


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    """Change the tensors of a saved optimizer."""
    tensors = load_file(folder / OPTIMIZER)
    change(tensors)
    save_file(tensors, folder / OPTIMIZER)


def edit_manifest(folder: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def refusal(make: Make, folder: Path) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        restore(fresh(make), folder)
    assert caught.value.exit_code == 4
    return caught.value


def assert_same(ours: TrainState, theirs: TrainState) -> None:
    for (name, one), (_, other) in zip(
        ours.model.named_parameters(), theirs.model.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
        state, expected = ours.optimizer.state.get(one, {}), theirs.optimizer.state.get(other, {})
        assert state.keys() == expected.keys(), name
        for key, value in expected.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(state[key], value), (name, key)
                assert (state[key].dtype, state[key].device) == (value.dtype, value.device)
            else:
                assert (type(state[key]), state[key]) == (type(value), value), (name, key)


@pytest.mark.parametrize("late", [False, True], ids=["all learn", "masks come late"])
@pytest.mark.parametrize(("make", "keys"), OPTIMIZERS)
def test_restored_optimizer_has_all_its_state_and_goes_on_bit_for_bit(tmp_path, make, keys, late):
    whole = fresh(make, seed=0)
    train(whole, 2, masks=not late)
    folder = save_step(tmp_path, whole, {}, keep=1)
    assert {name.rpartition(".")[2] for name in load_file(folder / OPTIMIZER)} == keys
    state = fresh(make)
    restore(state, folder)
    assert_same(state, whole)
    for one in (whole, state):
        train(one, 2)
    assert_same(state, whole)


def test_values_that_are_no_tensors_stand_in_the_manifest(tmp_path):
    folder = saved(tmp_path, lambda groups: Counting(groups, lr=0.1))
    values = json.loads((folder / MANIFEST).read_text())["optimizer"]["values"]
    ours = {key: value for key, value in values.items() if key.startswith("first.bias.")}
    assert ours == {
        "first.bias.seen": 2,
        "first.bias.share": 0.1 / 3 / 3,
        "first.bias.note": None,
        "first.bias.warm": True,
    }


@pytest.mark.parametrize("make", [adamw, sgd])
def test_parameter_that_never_had_a_gradient_is_written_down_and_may_lack_state(tmp_path, make):
    folder = saved(tmp_path, make, masks=False)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["optimizer"] == {"values": {}, "without_state": ["mask.weight"]}
    state = fresh(make)
    restore(state, folder)
    assert state.model.mask.weight not in state.optimizer.state
    assert state.model.frozen.weight not in state.optimizer.state
    assert len(state.optimizer.state) == 5


def test_missing_entries_are_refused_and_counted(tmp_path):
    folder = saved(tmp_path, adamw)

    def cut(tensors):
        del tensors["first.bias.exp_avg_sq"]
        for key in ("step", "exp_avg", "exp_avg_sq"):
            del tensors[f"mask.weight.{key}"]

    edit(folder, cut)
    assert str(refusal(adamw, folder)) == (
        "4 entries of the optimizer's state are missing: first.bias.exp_avg_sq, "
        "mask.weight.step, mask.weight.exp_avg and 1 more.; "
        f"at: {folder}; "
        "fix: resume with the recipe and the versions that the run was started with, or start a "
        f"new run from its weights: --set init.weights=null --set init.checkpoint={folder}."
    )


def test_entries_of_frozen_parameters_or_unknown_ones_are_surplus(tmp_path):
    folder = saved(tmp_path, sgd)
    edit(folder, lambda tensors: tensors.update({"frozen.bias.momentum_buffer": torch.zeros(4)}))
    assert str(refusal(sgd, folder)).startswith(
        "1 entry of the optimizer's state is surplus: frozen.bias.momentum_buffer.; at: "
    )
    edit_manifest(folder, lambda m: m["optimizer"]["values"].update({"gone.weight.seen": 3}))
    assert str(refusal(sgd, folder)).startswith(
        "2 entries of the optimizer's state are surplus: "
        "frozen.bias.momentum_buffer, gone.weight.seen.; at: "
    )


def test_state_of_another_optimizer_is_refused_with_what_is_missing_and_what_is_surplus(tmp_path):
    folder = saved(tmp_path, amsgrad)
    assert [error.what for error in refusal(sgd, folder).each()] == [
        "6 entries of the optimizer's state are missing: scale.momentum_buffer, "
        "first.weight.momentum_buffer, first.bias.momentum_buffer and 3 more.",
        "24 entries of the optimizer's state are surplus: first.bias.exp_avg, "
        "first.bias.exp_avg_sq, first.bias.max_exp_avg_sq and 21 more.",
    ]
    assert [error.what for error in refusal(adamw, folder).each()] == [
        "6 entries of the optimizer's state are surplus: first.bias.max_exp_avg_sq, "
        "first.weight.max_exp_avg_sq, last.bias.max_exp_avg_sq and 3 more.",
    ]


def test_entries_of_another_shape_are_refused(tmp_path):
    folder = saved(tmp_path, adamw)

    def change(tensors):
        tensors["first.bias.exp_avg"] = torch.zeros(1, 4)
        tensors["last.weight.step"] = torch.zeros(2)

    edit(folder, change)
    assert refusal(adamw, folder).what == (
        "2 entries of the optimizer's state are of another shape: "
        "first.bias.exp_avg is (1, 4), not (4,), last.weight.step is (2,), not ()."
    )


def test_checkpoint_that_does_not_say_who_had_no_state_takes_it_from_the_entries(tmp_path):
    folder = saved(tmp_path, adamw, masks=False)
    edit_manifest(folder, lambda manifest: manifest.pop("optimizer"))
    state = fresh(adamw)
    restore(state, folder)
    assert state.model.mask.weight not in state.optimizer.state
    edit(folder, lambda tensors: tensors.pop("last.bias.step"))
    assert refusal(adamw, folder).what == (
        "1 entry of the optimizer's state is missing: last.bias.step."
    )


def test_refused_state_leaves_the_optimizer_as_it_was(tmp_path):
    folder = saved(tmp_path, adamw)
    edit(folder, lambda tensors: tensors.pop("last.bias.step"))
    state = fresh(adamw)
    with pytest.raises(WeightsError):
        restore(state, folder)
    assert not state.optimizer.state
