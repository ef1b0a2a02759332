"""`mimdet weights`: list, import, export and re-lock; the Hub is in `tests/e2e`."""

import json
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def own(tmp_path):
    """A file of the user's."""
    torch.save({"model": {"a": torch.ones(2)}}, tmp_path / "own.pth")
    return tmp_path / "own.pth"


@pytest.fixture
def imported(mimdet, own):
    """The file imported as `mine`."""
    assert mimdet("weights", "import", own, "--as", "mine", "--format", "mae").code == 0
    return "mine"


def locked(store) -> dict[str, object]:
    return json.loads((store / "weights.lock.json").read_text())["weights"]["mine"]


def test_list_shows_every_name_with_size_licence_and_source(mimdet):
    outcome = mimdet("weights", "ls")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 160
    lines = {line.split()[0]: line for line in outcome.out.splitlines()}
    assert "448 MB" in lines["mae-base"]
    assert "facebook/vit-mae-base" in lines["mae-base"]
    assert "disputed" in lines["mae-base"]
    assert outcome.err.startswith("disputed: The Hub's tag of these weights (Apache-2.0) contra")
    assert "CC-BY-NC-4.0" in lines["mae-base-full"]
    assert "import" in lines["mae-base-full"]
    records = json.loads(mimdet("weights", "ls", "--json").out)
    assert {record["name"] for record in records} == set(lines) - {"name"}
    assert not any(record["cached"] for record in records)


def test_list_needs_neither_torch_nor_the_hub(tmp_path):
    code = (
        "import sys; from mimdet_cli.main import main; code = main(['weights', 'ls']);"
        "sys.exit(code or ('torch' in sys.modules) or ('huggingface_hub' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0


def test_import_reports_the_name_and_the_first_record(mimdet, own, store):
    outcome = mimdet("weights", "import", own, "--as", "mine", "--format", "mae", "--json")
    assert outcome.code == 0
    (record,) = json.loads(outcome.out)
    assert (record["name"], record["path"]) == ("mine", str(store / "mine.safetensors"))
    assert outcome.err.startswith("mine: first time on this machine; recorded sha256 ")
    assert f"in {store / 'weights.lock.json'}" in outcome.err


def test_import_that_would_run_code_is_refused_and_does_not_run(mimdet, tmp_path, store):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    path = tmp_path / "evil.pth"
    outcome = mimdet("weights", "import", path, "--as", "mine", "--format", "mae")
    assert outcome.code == 4
    assert "would run code" in outcome.err
    assert not (tmp_path / "ran").exists()
    assert not store.exists()


def test_exported_weights_are_pulled_from_the_folder(mimdet, imported, tmp_path, monkeypatch):
    usb = tmp_path / "usb"
    outcome = mimdet("weights", "export", imported, "--to", usb)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"mine: 0.0 MB, copied: {usb / 'mine.safetensors'}\n"
    assert "`mimdet pull --from DIR`" in outcome.err
    (record,) = json.loads(mimdet("weights", "export", imported, "--to", usb, "--json").out)
    assert (record["name"], record["path"]) == ("mine", str(usb / "mine.safetensors"))
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "other"))
    outcome = mimdet("pull", "--from", usb)
    assert outcome.code == 0, outcome.err
    assert str(tmp_path / "other" / "mine.safetensors") in outcome.out


def test_export_of_what_is_not_here_names_the_command_that_brings_it(mimdet, tmp_path):
    outcome = mimdet("weights", "export", "mae-base", "nothing", "--to", tmp_path / "usb")
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        "error: 'mae-base' is not on this machine.\n"
        "  fix: `mimdet pull mae-base` first.\n"
        "error: 'nothing' is not a known name.\n"
        "  fix: `mimdet weights ls` lists the names.\n"
    )


def test_relock_replaces_the_record_of_an_import(mimdet, imported, own, store):
    before = locked(store)
    torch.save({"model": {"a": torch.zeros(3)}}, own)
    outcome = mimdet("weights", "import", own, "--as", imported, "--format", "mae")
    assert outcome.code == 4
    assert f"`mimdet weights relock mine --import {own} --format mae`" in outcome.err
    assert locked(store) == before
    outcome = mimdet("weights", "relock", imported, "--import", own, "--json")
    assert outcome.code == 0
    after = locked(store)["source_sha256"]
    assert outcome.err == f"mine: recorded sha256 {after} instead of {before['source_sha256']}\n"


def test_relock_accepts_another_copy_from_a_folder(mimdet, imported, own, store, tmp_path):
    assert mimdet("weights", "export", imported, "--to", tmp_path / "usb").code == 0
    before = locked(store)
    torch.save({"model": {"a": torch.zeros(3)}}, own)
    assert mimdet("weights", "relock", imported, "--import", own).code == 0
    outcome = mimdet("pull", imported, "--from", tmp_path / "usb")
    assert outcome.code == 4
    assert f"`mimdet weights relock mine --from {tmp_path / 'usb'}`" in outcome.err
    assert mimdet("weights", "relock", imported, "--from", tmp_path / "usb").code == 0
    assert locked(store)["source_sha256"] == before["source_sha256"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give at least one NAME."),
        ("--import x.pth", "--import requires exactly one NAME."),
        ("a b --import x.pth", "--import requires exactly one NAME."),
        ("a --import x.pth --from b", "--import and --from cannot be combined."),
        ("a --import x.pth --dry-run", "--import and --dry-run cannot be combined."),
        ("a --from b --revision main", "--from and --revision cannot be combined."),
        ("a b --revision main", "--revision requires exactly one NAME."),
    ],
)
def test_options_that_relock_would_ignore_are_refused(mimdet, words, message):
    outcome = mimdet("weights", "relock", *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}\n")
    assert "`mimdet weights relock --help`" in outcome.err
