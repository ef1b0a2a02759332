"""What the names given to `mimdet pull` refer to, without a network."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from weights_files import import_made, refusal, suggested

from mimdet_cli.console import Console
from mimdet_cli.files import sha256
from mimdet_cli.weights import hub, locate, lock
from mimdet_cli.weights.catalog import entries
from mimdet_cli.weights.pull import PullOptions, parse_request, pull
from mimdet_cli.weights.result import listing

pytestmark = pytest.mark.usefixtures("store")


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


def test_repository_with_its_format_is_named_after_itself_or_as_asked():
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


def test_weights_that_are_not_on_the_hub_say_how_to_import_them():
    error = refusal(pull, ["mae-base-full"], PullOptions(), dry_run=False, progress=Console())
    assert "is not on the Hub" in error.what
    assert "`mimdet weights import FILE --as mae-base-full`" in error.fix


def test_imported_name_is_here_when_it_is_pulled(tmp_path):
    import_made(tmp_path / "x.pth")
    (done,) = pull(["mine"], PullOptions(), dry_run=False, progress=Console())
    assert done.here
    assert {one["name"]: one["cached"] for one in listing()}["mine"]


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """The file that the Hub has under every name."""
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(2)}, path)
    found = hub.Fetched(path, "c" * 40, sha256(path), fresh=False)
    for fetch in ("fetch", "refetch"):
        monkeypatch.setattr(hub, fetch, lambda wanted, progress: found)
    monkeypatch.setattr(hub, "licence", lambda wanted: "not known")
    return found


@pytest.mark.parametrize("relock", [False, True])
def test_file_other_than_the_catalogues_is_pulled_under_another_name(
    store, fetched, mimdet, monkeypatch, relock
):
    pinned = {"mae-large": replace(entries()["mae-large"], sha256="0" * 64)}
    monkeypatch.setattr(locate, "entries", lambda: pinned)
    options = PullOptions(relock=relock)
    error = refusal(pull, ["mae-large"], options, dry_run=False, progress=Console())
    assert f"its sha256 is {fetched.sha256}, the catalogue's is {'0' * 64}" in error.what
    assert "--as mae-large-other --format hf_mae --revision refs/pr/1`" in error.fix
    assert not lock.read(store)
    assert mimdet(*suggested(error)).code == 0
    assert lock.read(store)["mae-large-other"].sha256 == fetched.sha256


def test_pickle_other_than_the_catalogues_is_imported_under_another_name(fetched, monkeypatch):
    pinned = {"mae-base": replace(entries()["mae-base"], sha256="0" * 64)}
    monkeypatch.setattr(locate, "entries", lambda: pinned)
    options = PullOptions(file="pytorch_model.bin")
    error = refusal(pull, ["mae-base"], options, dry_run=False, progress=Console())
    assert "`mimdet weights import FILE --as mae-base-other --format hf_mae`" in error.fix
