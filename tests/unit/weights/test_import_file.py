"""Files of the user's become weights under a name."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from weights_files import import_made, refusal

from mimdet_cli.console import Console
from mimdet_cli.files import sha256
from mimdet_cli.weights import lock
from mimdet_cli.weights.import_file import import_file

FULL = {
    "blocks.11.attn.qkv.weight": torch.zeros(2304, 768),
    "decoder_blocks.7.attn.qkv.weight": torch.ones(1536, 512),
}

pytestmark = pytest.mark.usefixtures("store")


def test_pickled_import_becomes_safetensors_and_is_recorded(tmp_path, store, capsys):
    done = import_made(tmp_path / "x.pth", tensors=FULL, layout=None, name="mae-base-full")
    assert done.path == store / "mae-base-full.safetensors"
    assert sorted(load_file(done.path)) == sorted(FULL)
    record = lock.read(store)["mae-base-full"]
    assert record.source_sha256 == sha256(tmp_path / "x.pth")
    assert record.sha256 == sha256(done.path)
    assert record.entry is None
    assert "licence: CC-BY-NC-4.0" in capsys.readouterr().err


def test_tensors_that_share_memory_are_imported(tmp_path):
    table = torch.arange(6.0)
    done = import_made(tmp_path / "x.pth", tensors={"a": table, "b": table[2:]})
    assert load_file(done.path)["b"].tolist() == [2, 3, 4, 5]


def test_state_dict_of_mmdetections_kind_is_imported(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "meta": {}}, tmp_path / "x.pth")
    done = import_file(tmp_path / "x.pth", "mine", "mae", Console())
    assert list(load_file(done.path)) == ["a"]


def test_only_state_dict_of_a_file_is_imported_whatever_its_key(tmp_path):
    torch.save({"teacher": {"a": torch.ones(1)}, "epoch": 3}, tmp_path / "x.pth")
    done = import_file(tmp_path / "x.pth", "mine", "mae", Console())
    assert list(load_file(done.path)) == ["a"]


def test_safetensors_are_imported_too(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "x.safetensors")
    done = import_file(tmp_path / "x.safetensors", "mine", "mae", Console())
    assert list(load_file(done.path)) == ["a"]


def test_file_of_several_models_is_not_imported(tmp_path, store):
    models = {"student": {"a": torch.ones(1)}, "teacher": {"a": torch.zeros(1)}}
    torch.save(models, tmp_path / "x.pth")
    error = refusal(import_file, tmp_path / "x.pth", "mine", "mae", Console())
    assert error.what == "the file holds several models: 'student' and 'teacher'."
    assert not (store / lock.NAME).exists()


def test_file_of_another_size_is_not_imported_under_a_catalogued_name(tmp_path, store):
    large = {**FULL, "blocks.11.attn.qkv.weight": torch.zeros(3072, 1024)}
    error = refusal(import_made, tmp_path / "x.pth", None, "mae-base-full", large)
    assert "has shape (3072, 1024), expected (2304, 768)" in error.what
    encoder = {"blocks.11.attn.qkv.weight": FULL["blocks.11.attn.qkv.weight"]}
    error = refusal(import_made, tmp_path / "x.pth", None, "mae-base-full", encoder)
    assert "'decoder_blocks.7.attn.qkv.weight' is missing" in error.what
    assert "mae_pretrain_vit_base_full.pth" in error.fix
    assert not (store / lock.NAME).exists()


def test_second_import_must_be_the_same_file_unless_it_is_relocked(tmp_path, store):
    import_made(tmp_path / "x.pth")
    before = lock.read(store)["mine"]
    import_made(tmp_path / "x.pth")
    assert lock.read(store)["mine"].source_sha256 == before.source_sha256
    error = refusal(import_made, tmp_path / "x.pth", tensors={"a": torch.zeros(2)})
    assert str(before.source_sha256) in error.what
    assert f"`mimdet weights relock mine --import {tmp_path / 'x.pth'} --format mae`" in error.fix
    assert lock.read(store)["mine"].sha256 == before.sha256
    import_made(tmp_path / "x.pth", tensors={"a": torch.zeros(2)}, relock=True)
    assert lock.read(store)["mine"].sha256 != before.sha256


def test_import_that_is_missing_or_has_no_format_is_refused(tmp_path):
    error = refusal(import_file, tmp_path / "no.pth", "mine", None, Console())
    assert error.where == "FILE"
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pth")
    error = refusal(import_file, tmp_path / "x.pth", "mea-base", None, Console())
    assert "never guessed" in error.what
    assert "did you mean 'mae-base'?" in error.fix
