"""`mimdet pull`: what it lists, imports, and refuses to combine; the Hub is in `tests/e2e`."""

import json
import sys

import pytest
import torch


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty folder of weights."""
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def own(tmp_path):
    """A file of one's own."""
    torch.save({"model": {"a": torch.ones(2)}}, tmp_path / "own.pth")
    return tmp_path / "own.pth"


def test_list_shows_every_name_with_size_licence_and_source(mimdet):
    outcome = mimdet("pull", "--list")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 160
    lines = {line.split()[0]: line for line in outcome.out.splitlines()}
    assert "448 MB" in lines["mae-base"]
    assert "facebook/vit-mae-base" in lines["mae-base"]
    assert "disputed" in lines["mae-base"]
    assert outcome.err.startswith("disputed: The Hub's tag of these weights (Apache-2.0) contra")
    assert "CC-BY-NC-4.0" in lines["mae-base-full"]
    assert "import" in lines["mae-base-full"]
    records = json.loads(mimdet("pull", "--list", "--json").out)
    assert {one["name"] for one in records} == set(lines) - {"name"}
    assert not any(one["cached"] for one in records)


def test_import_reports_the_name_and_the_first_record(mimdet, own, store):
    outcome = mimdet("pull", "--import", own, "--as", "mine", "--format", "mae", "--json")
    assert outcome.code == 0
    (record,) = json.loads(outcome.out)
    assert (record["name"], record["path"]) == ("mine", str(store / "mine.safetensors"))
    assert outcome.err.startswith("mine: first time here; sha256 ")
    assert f"recorded in {store / 'weights.lock.json'}" in outcome.err


def test_import_that_would_run_code_is_refused_and_does_not_run(mimdet, tmp_path, store):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    torch.save({"model": Evil()}, tmp_path / "evil.pth")
    path = tmp_path / "evil.pth"
    outcome = mimdet("pull", "--import", path, "--as", "mine", "--format", "mae")
    assert outcome.code == 4
    assert "asks to run code" in outcome.err
    assert not (tmp_path / "ran").exists()
    assert not store.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "nothing is named."),
        ("--list mae-base", "--list takes no NAME."),
        ("--import x.pth", "--import goes with --as NAME, and without --file and --revision."),
        ("--import x.pth --as a --file b", "--import goes with --as NAME, and without --file and"),
        ("mae-base --import x.pth --as a", "--import takes no NAME."),
        ("mae-base --as other", "--as goes with OWNER/REPOSITORY or --import."),
        ("mae-base deit-tiny --revision main", "--revision goes with one NAME of the Hub, or"),
        ("mae-base --to a --from b", "--from and --to exclude each other."),
        ("mae-base --to a --dry-run", "--to and --dry-run exclude each other."),
        ("--list --relock", "--relock does not go with --list."),
        ("mae-base --from a --revision main", "--revision goes with one NAME of the Hub, or"),
    ],
)
def test_options_that_would_be_ignored_are_refused(mimdet, words, message):
    outcome = mimdet("pull", *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}")
    assert "`mimdet pull --help`" in outcome.err


def test_names_that_are_unknown_are_all_told_at_once(mimdet):
    outcome = mimdet("pull", "mae-bsae", "nothing")
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        "error: 'mae-bsae' is neither a known name nor OWNER/REPOSITORY on the Hub.\n"
        "  fix: did you mean `mimdet pull mae-base`?\n"
        "error: 'nothing' is neither a known name nor OWNER/REPOSITORY on the Hub.\n"
        "  fix: `mimdet pull --list` shows the names.\n"
    )


def test_list_needs_neither_torch_nor_the_hub(tmp_path):
    import subprocess

    code = (
        "import sys; from mimdet_cli.main import main; code = main(['pull', '--list']);"
        "sys.exit(code or ('torch' in sys.modules) or ('huggingface_hub' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=tmp_path).returncode == 0
