"""Where `init.weights` is looked for, and what is said when it is not there."""

import pytest

from mimdet_cli.errors import WeightsError
from mimdet_cli.recipe.schema import Init
from mimdet_cli.weights.catalog import Source, entries, folder, locate


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    """An empty folder of catalogued weights."""
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


def refusal(**init) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        locate(Init(**init))
    return caught.value


def test_catalogue_names_the_mae_weights_with_format_and_licence():
    found = entries()
    assert {"mae-base", "mae-large"} <= set(found)
    for entry in found.values():
        assert entry.about
        assert entry.family
        assert entry.licence
    assert found["mae-base"].format == found["mae-large"].format == "mae"


def test_no_weights_are_no_source():
    assert locate(Init(weights=None)) == []


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_catalogued_file_is_found_in_the_folder(store, suffix):
    (store / f"mae-base{suffix}").touch()
    (source,) = locate(Init(weights="mae-base"))
    assert source == Source(store / f"mae-base{suffix}", "mae", entries()["mae-base"].licence)


def test_catalogued_file_that_is_missing_names_both_ways_out(store):
    error = refusal(weights="mae-large")
    assert error.exit_code == 4
    assert error.what == "'mae-large' (MAE ViT-Large, encoder and decoder) is not on this machine."
    assert str(store / "mae-large") in error.where
    assert "--set init.weights=FILE --set init.format=mae" in error.fix
    assert "--set init.weights=null" in error.fix


def test_folder_follows_the_user_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("MIMDET_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder() == tmp_path / "mimdet" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert folder() == tmp_path / "home" / ".cache" / "mimdet" / "weights"


def test_own_file_needs_its_format(tmp_path):
    path = tmp_path / "mine.pth"
    path.touch()
    assert locate(Init(weights=str(path), format="mae")) == [Source(path, "mae")]
    error = refusal(weights=str(path))
    assert "never guessed" in error.what
    assert error.where == "init.format"


def test_own_file_that_is_missing_is_named(tmp_path):
    error = refusal(weights=str(tmp_path / "gone.pth"), format="mae")
    assert error.what == f"the weights file {tmp_path / 'gone.pth'} does not exist."
    assert "--set init.weights=null" in error.fix


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("mae-bsae", "did you mean 'mae-base'?"),
        ("weights.ckpt", "known names: "),
    ],
)
def test_other_name_is_neither(name, fix):
    error = refusal(weights=name)
    assert error.what == (
        f"'{name}' is neither a catalogued name nor a .safetensors, .pth, .pt file."
    )
    assert error.fix.startswith(fix)


def test_further_files_come_after_the_first_and_their_mistakes_name_their_place(tmp_path):
    first, second = tmp_path / "mae.pth", tmp_path / "stem.safetensors"
    first.touch()
    second.touch()
    more = [{"weights": str(second), "format": "convnext_stem"}]
    init = Init.model_validate({"weights": str(first), "format": "mae", "more": more})
    assert locate(init) == [Source(first, "mae"), Source(second, "convnext_stem")]
    with pytest.raises(WeightsError) as caught:
        locate(Init.model_validate({"more": [{"weights": str(tmp_path / "no.pth")}]}))
    assert caught.value.where == "init.more[0].weights"
