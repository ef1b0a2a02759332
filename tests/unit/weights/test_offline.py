"""Weights copied to a folder and taken from it, for machines without network."""

import re
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from weights_files import import_made, refusal, suggested

from mimdet_cli.console import Console
from mimdet_cli.weights import lock, offline
from mimdet_cli.weights.catalog import entries
from mimdet_cli.weights.offline import copy_to, take_from
from mimdet_cli.weights.pull import PullOptions, pull
from mimdet_cli.weights.result import listing

pytestmark = pytest.mark.usefixtures("store")


def test_copied_weights_arrive_with_their_record_and_entry(tmp_path, store, monkeypatch):
    import_made(tmp_path / "x.pth")
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
    import_made(tmp_path / "x.pth")
    copy_to(["mine"], tmp_path / "usb")
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "usb"))
    (done,) = pull(["mine"], PullOptions(), dry_run=False, progress=Console())
    assert done.path == tmp_path / "usb" / "mine.safetensors"


def test_copied_weights_that_differ_from_the_record_here_are_refused(tmp_path, monkeypatch):
    import_made(tmp_path / "x.pth")
    copy_to(["mine"], tmp_path / "usb")
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "other"))
    import_made(tmp_path / "y.pth", tensors={"a": torch.zeros(2)})
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
    import_made(tmp_path / "x.pth")
    copy_to(["mine"], tmp_path / "usb")
    error = refusal(take_from, tmp_path / "usb", ["deit-tiny"], Console(), relock=False)
    assert "it holds mine" in error.fix


def test_weights_that_are_not_here_or_have_changed_are_not_copied(tmp_path):
    done = import_made(tmp_path / "x.pth")
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


def test_file_put_into_the_folder_by_hand_is_exported_once_it_is_recorded(tmp_path, store, mimdet):
    store.mkdir()
    path = store / "mae-base.safetensors"
    save_file({"a": torch.ones(2)}, path)
    assert {record["name"]: record["cached"] for record in listing()}["mae-base"]
    error = refusal(copy_to, ["mae-base"], tmp_path / "usb")
    assert (
        error.what == "'mae-base' has no record: its file was put into the weights folder by hand."
    )
    assert error.fix == f"`mimdet weights import {path} --as mae-base` records it."
    assert mimdet(*suggested(error)).code == 0
    (copy,) = copy_to(["mae-base"], tmp_path / "usb")
    assert load_file(copy.path)["a"].tolist() == [1, 1]


def test_copied_file_other_than_the_catalogues_is_taken_under_another_name(
    tmp_path, store, mimdet, monkeypatch
):
    import_made(tmp_path / "x.pth", layout=None, name="mae-base")
    copy_to(["mae-base"], tmp_path / "usb")
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "other"))
    pinned = {"mae-base": replace(entries()["mae-base"], sha256="0" * 64)}
    monkeypatch.setattr(offline, "entries", lambda: pinned)
    for relock in (False, True):
        error = refusal(take_from, tmp_path / "usb", [], Console(), relock=relock)
        assert f"the catalogue's is {'0' * 64}" in error.what
    assert mimdet(*suggested(error)).code == 0
    assert list(lock.read(tmp_path / "other")) == ["mae-base-other"]
