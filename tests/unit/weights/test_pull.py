"""Requests, imports, and folders for machines without network."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file

from mimdet_cli.console import Console
from mimdet_cli.errors import WeightsError
from mimdet_cli.files import sha256
from mimdet_cli.weights import lock
from mimdet_cli.weights.import_file import import_file
from mimdet_cli.weights.offline import copy_to, take_from
from mimdet_cli.weights.pull import PullOptions, parse_request, pull
from mimdet_cli.weights.result import listing

FULL = {
    "blocks.11.attn.qkv.weight": torch.zeros(2304, 768),
    "decoder_blocks.7.attn.qkv.weight": torch.ones(1536, 512),
}


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty folder of weights."""
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "store"))
    return tmp_path / "store"


def refusal(call, *arguments, **named) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        call(*arguments, **named)
    return caught.value


def mine(path, layout="mae", name="mine", tensors=None, *, relock=False):
    """Import a made file."""
    torch.save({"model": tensors or {"a": torch.ones(2)}, "epoch": 3}, path)
    return import_file(path, name, layout, Console(), relock=relock)


def test_known_name_is_pulled_by_its_name():
    found = parse_request("mae-base", PullOptions())
    assert (found.command, found.catalogued) == ("mimdet pull mae-base", True)
    again = parse_request("mae-base", PullOptions(relock=True))
    assert again.command == found.relock_command == "mimdet weights relock mae-base"


def test_misspelt_name_names_its_nearest_neighbour():
    error = refusal(parse_request, "mae-bsae", PullOptions())
    assert error.fix == "did you mean `mimdet pull mae-base`?"


def test_repository_of_the_catalogue_is_known_by_its_name():
    error = refusal(parse_request, "facebook/vit-mae-base", PullOptions())
    assert "`mimdet pull mae-base`" in error.fix


def test_repository_with_its_format_is_named_after_itself_or_as_request():
    options = PullOptions(format="timm")
    assert parse_request("timm/some.tag", options).name == "some.tag"
    found = parse_request("timm/some.tag", PullOptions(format="timm", name="short"))
    assert (found.name, found.command) == (
        "short", "mimdet pull timm/some.tag --format timm --as short"
    )  # fmt: skip


@pytest.mark.parametrize("name", ["", "../up", "a b", ".hidden", "-x", "a.pth", "a.safetensors"])
def test_name_that_is_no_file_name_is_refused(tmp_path, name):
    error = refusal(parse_request, "o/r", PullOptions(format="mae", name=name or "/"))
    assert error.where == "--as"


def test_format_of_a_catalogued_name_is_not_overruled():
    assert (
        "layout of 'mae-base' is known (hf_mae)"
        in refusal(parse_request, "mae-base", PullOptions(format="mae")).what
    )


def test_pickled_import_becomes_safetensors_and_is_recorded(tmp_path, store, capsys):
    done = mine(tmp_path / "x.pth", tensors=FULL, layout=None, name="mae-base-full")
    assert done.path == store / "mae-base-full.safetensors"
    assert sorted(load_file(done.path)) == sorted(FULL)
    record = lock.read(store)["mae-base-full"]
    assert record.source_sha256 == sha256(tmp_path / "x.pth")
    assert record.sha256 == sha256(done.path)
    assert record.entry is None
    assert "licence: CC-BY-NC-4.0" in capsys.readouterr().err


def test_tensors_that_share_memory_are_imported(tmp_path):
    table = torch.arange(6.0)
    done = mine(tmp_path / "x.pth", tensors={"a": table, "b": table[2:]})
    assert load_file(done.path)["b"].tolist() == [2, 3, 4, 5]


def test_state_dict_of_mmdetections_kind_is_imported(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "meta": {}}, tmp_path / "x.pth")
    done = import_file(tmp_path / "x.pth", "mine", "mae", Console())
    assert list(load_file(done.path)) == ["a"]


def test_only_state_dict_of_a_file_is_imported_whatever_its_key(tmp_path):
    torch.save({"teacher": {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "x.pth")
    done = import_file(tmp_path / "x.pth", "mine", "mae", Console())
    assert list(load_file(done.path)) == ["a"]


def test_file_of_several_models_is_not_imported(tmp_path, store):
    models = {"student": {"a": torch.ones(1)}, "teacher": {"a": torch.zeros(1)}}
    torch.save(models, tmp_path / "x.pth")
    error = refusal(import_file, tmp_path / "x.pth", "mine", "mae", Console())
    assert error.what == "the file holds several models: 'student' and 'teacher'."
    assert not (store / lock.NAME).exists()


def test_file_of_another_size_is_not_imported_under_a_catalogued_name(tmp_path, store):
    large = {**FULL, "blocks.11.attn.qkv.weight": torch.zeros(3072, 1024)}
    error = refusal(mine, tmp_path / "x.pth", None, "mae-base-full", large)
    assert "has shape (3072, 1024), expected (2304, 768)" in error.what
    encoder = {"blocks.11.attn.qkv.weight": FULL["blocks.11.attn.qkv.weight"]}
    error = refusal(mine, tmp_path / "x.pth", None, "mae-base-full", encoder)
    assert "'decoder_blocks.7.attn.qkv.weight' is missing" in error.what
    assert "mae_pretrain_vit_base_full.pth" in error.fix
    assert not (store / lock.NAME).exists()


def test_second_import_must_be_the_same_file_unless_it_is_recorded_anew(tmp_path, store):
    mine(tmp_path / "x.pth")
    before = lock.read(store)["mine"]
    mine(tmp_path / "x.pth")
    assert lock.read(store)["mine"].source_sha256 == before.source_sha256
    error = refusal(mine, tmp_path / "x.pth", tensors={"a": torch.zeros(2)})
    assert str(before.source_sha256) in error.what
    assert f"`mimdet weights relock mine --import {tmp_path / 'x.pth'} --format mae`" in error.fix
    assert lock.read(store)["mine"].sha256 == before.sha256
    mine(tmp_path / "x.pth", tensors={"a": torch.zeros(2)}, relock=True)
    assert lock.read(store)["mine"].sha256 != before.sha256


def test_import_that_is_missing_or_has_no_format_is_refused(tmp_path):
    error = refusal(import_file, tmp_path / "no.pth", "mine", None, Console())
    assert error.where == "FILE"
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pth")
    error = refusal(import_file, tmp_path / "x.pth", "mea-base", None, Console())
    assert "never guessed" in error.what
    assert "did you mean 'mae-base'?" in error.fix


def test_weights_that_are_not_on_the_hub_say_how_to_import_them():
    error = refusal(pull, ["mae-base-full"], PullOptions(), dry_run=False, progress=Console())
    assert "is not on the Hub" in error.what
    assert "`mimdet weights import FILE --as mae-base-full`" in error.fix


def test_imported_name_is_here_when_it_is_pulled(tmp_path):
    mine(tmp_path / "x.pth")
    (done,) = pull(["mine"], PullOptions(), dry_run=False, progress=Console())
    assert done.here
    assert {one["name"]: one["cached"] for one in listing()}["mine"]


def test_copied_weights_arrive_with_their_record_and_entry(tmp_path, store, monkeypatch):
    mine(tmp_path / "x.pth")
    (copy,) = copy_to(["mine"], tmp_path / "usb")
    assert copy.path == tmp_path / "usb/mine.safetensors"
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "other"))
    (done,) = take_from(tmp_path / "usb", [], Console(), relock=False)
    assert done.path == tmp_path / "other" / "mine.safetensors"
    there, here = lock.read(store)["mine"], lock.read(tmp_path / "other")["mine"]
    assert (here.sha256, here.source_sha256, here.entry) == (
        there.sha256, there.source_sha256, there.entry
    )  # fmt: skip
    (done,) = pull(["mine"], PullOptions(), dry_run=False, progress=Console())
    assert done.here


def test_folder_serves_as_the_weights_folder_itself(tmp_path, monkeypatch):
    mine(tmp_path / "x.pth")
    copy_to(["mine"], tmp_path / "usb")
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "usb"))
    (done,) = pull(["mine"], PullOptions(), dry_run=False, progress=Console())
    assert done.path == tmp_path / "usb" / "mine.safetensors"


def test_copied_weights_that_differ_from_the_record_here_are_refused(tmp_path, monkeypatch):
    mine(tmp_path / "x.pth")
    copy_to(["mine"], tmp_path / "usb")
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "other"))
    mine(tmp_path / "y.pth", tensors={"a": torch.zeros(2)})
    error = refusal(take_from, tmp_path / "usb", ["mine"], Console(), relock=False)
    command = re.search(r"`([^`]+)`", error.fix)
    assert command is not None
    assert command[1] == f"mimdet weights relock mine --from {tmp_path / 'usb'}"
    (done,) = take_from(tmp_path / "usb", ["mine"], Console(), relock=True)
    assert done.path is not None
    assert load_file(done.path)["a"].tolist() == [1, 1]


def test_folder_without_weights_or_without_the_name_is_refused(tmp_path):
    error = refusal(take_from, tmp_path, [], Console(), relock=False)
    assert "`mimdet weights export NAME --to DIR`" in error.fix
    mine(tmp_path / "x.pth")
    copy_to(["mine"], tmp_path / "usb")
    error = refusal(take_from, tmp_path / "usb", ["deit-tiny"], Console(), relock=False)
    assert "it holds mine" in error.fix


def test_safetensors_are_imported_too(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    done = import_file(tmp_path / "x.safetensors", "mine", "mae", Console())
    assert list(load_file(done.path)) == ["a"]


def test_weights_that_are_not_here_or_have_changed_are_not_copied(tmp_path):
    done = mine(tmp_path / "x.pth")
    error = refusal(copy_to, ["mine", "mae-base", "mae-base-full", "mae-bsae"], tmp_path / "usb")
    assert [one.fix for one in error.each()] == [
        "`mimdet pull mae-base` first.",
        "`mimdet weights import FILE --as mae-base-full` first.",
        "did you mean 'mae-base'?",
    ]
    done.path.write_bytes(b"other")
    error = refusal(copy_to, ["mine"], tmp_path / "usb")
    assert error.what == "'mine' has changed since it was recorded."
    assert error.fix == "`mimdet weights import FILE --as mine` restores the recorded file."
    assert not (tmp_path / "usb").exists()
