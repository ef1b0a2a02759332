"""Where `init.weights` is looked for, what is said when it is not there, and what goes together."""

import os

import pytest

from mimdet_cli.errors import WeightsError
from mimdet_cli.files import sha256
from mimdet_cli.recipe.schema import Data, Init
from mimdet_cli.weights import lock
from mimdet_cli.weights.catalog import CatalogEntry, entries
from mimdet_cli.weights.locate import LocatedWeights, locate, pixel_warnings
from mimdet_cli.weights.lock import Locked


@pytest.fixture(autouse=True)
def store(store):
    """The folder of weights, which is there."""
    store.mkdir()
    return store


def refusal(**init) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        locate(Init.model_validate(init))
    assert caught.value.exit_code == 4
    return caught.value


def keep(store, name, *, entry=None, repo=None) -> Locked:
    """Stored weights with their record."""
    path = store / f"{name}.safetensors"
    path.write_bytes(name.encode())
    record = Locked(
        file="x.pth", sha256=sha256(path), bytes=path.stat().st_size, repo=repo,
        commit="c" * 40 if repo else None, stored=path.name, entry=entry,
    )  # fmt: skip
    return lock.write(store, name, record, over=None)


def test_no_weights_are_no_source():
    assert locate(Init(weights=None)) == []


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_file_laid_into_the_folder_by_hand_is_found(store, suffix):
    (store / f"mae-base{suffix}").touch()
    (source,) = locate(Init(weights="mae-base"))
    expected = entries()["mae-base"]
    assert source == LocatedWeights(store / f"mae-base{suffix}", "hf_mae", "mae-base", expected)


def test_recorded_file_is_found_with_where_it_came_from(store):
    keep(store, "mae-base", repo="facebook/vit-mae-base")
    (source,) = locate(Init(weights="mae-base"))
    assert source.path == store / "mae-base.safetensors"
    provenance = source.provenance()
    assert provenance["repo"] == "facebook/vit-mae-base"
    assert provenance["commit"] == "c" * 40
    assert provenance["family"] == "raw pixels"
    assert provenance["sha256"] == lock.read(store)["mae-base"].sha256
    assert "contradicts" in provenance["licence_note"]


def test_own_name_is_found_by_its_record(store):
    entry = CatalogEntry("mine", "mae", "MIT")
    keep(store, "mine", entry=entry)
    (source,) = locate(Init(weights="mine"))
    assert (source.format, source.entry) == ("mae", entry)


def test_recipe_may_read_a_known_file_by_another_format(store):
    keep(store, "mae-base-full")
    (source,) = locate(Init(weights="mae-base-full", format="mae_encoder"))
    assert source.format == "mae_encoder"


@pytest.mark.parametrize(
    ("name", "repo", "command"),
    [("mae-base", "o/r", "mimdet pull mae-base"),
     ("mae-base-full", None, "mimdet weights import FILE --as mae-base-full")],
)  # fmt: skip
def test_file_that_was_changed_is_not_used(store, name, repo, command):
    record = keep(store, name, repo=repo)
    path = store / f"{name}.safetensors"
    path.write_bytes(bytes(record.bytes))
    os.utime(path, ns=(1, 2))
    error = refusal(weights=name)
    assert "has changed since it was recorded" in error.what
    assert record.sha256 in error.where
    assert error.fix.startswith(f"`{command}`")


def test_missing_weights_name_both_commands_and_the_way_without(store):
    error = refusal(weights="mae-large")
    assert error.what == "'mae-large' (MAE ViT-Large, encoder and decoder) is not on this machine."
    assert error.where.startswith("init.weights; ")
    assert str(store) in error.where
    for way in (
        "`mimdet pull mae-large`",
        "`mimdet weights import FILE --as mae-large-full` and `--set init.weights=mae-large-full`",
        "`--set init.weights=null`",
    ):
        assert way in error.fix


def test_missing_weights_that_are_not_on_the_hub_say_where_they_are():
    error = refusal(weights="mae-base-full")
    assert "`mimdet weights import FILE --as mae-base-full`, with mae_pretrain_" in error.fix
    assert "`mimdet pull mae-base-full`" not in error.fix


def test_all_that_is_missing_is_reported_together():
    error = refusal(weights="mae-base", more=[{"weights": "convnext-large"}])
    assert [one.where.partition(";")[0] for one in error.each()] == [
        "init.weights",
        "init.more[0].weights",
    ]
    assert all("mimdet pull" in one.fix for one in error.each())


def test_own_file_needs_its_format(tmp_path):
    path = tmp_path / "mine.pth"
    path.touch()
    assert locate(Init(weights=str(path), format="mae")) == [LocatedWeights(path, "mae")]
    error = refusal(weights=str(path))
    assert "never guessed" in error.what
    assert error.where == "init.format"


def test_own_file_that_is_missing_is_named(tmp_path):
    error = refusal(weights=str(tmp_path / "gone.pth"), format="mae")
    assert error.what == f"the weights file {tmp_path / 'gone.pth'} does not exist."
    assert "--set init.weights=null" in error.fix


@pytest.mark.parametrize(
    ("name", "fix"),
    [("mae-bsae", "did you mean 'mae-base'?"), ("a.ckpt", "`mimdet weights ls` lists the names.")],
)
def test_other_name_is_neither(name, fix):
    error = refusal(weights=name)
    assert error.what == f"'{name}' is neither a known name nor a .safetensors, .pth, .pt file."
    assert error.fix == fix


def test_further_files_come_after_the_first_and_their_mistakes_name_their_place(tmp_path):
    first, second = tmp_path / "mae.pth", tmp_path / "stem.safetensors"
    first.touch()
    second.touch()
    more = [{"weights": str(second), "format": "convnext_stem"}]
    init = Init.model_validate({"weights": str(first), "format": "mae", "more": more})
    assert locate(init) == [LocatedWeights(first, "mae"), LocatedWeights(second, "convnext_stem")]
    assert refusal(more=[{"weights": str(tmp_path / "no.pth")}]).where == "init.more[0].weights"


def test_mae_models_of_two_families_are_not_mixed_unless_the_recipe_insists(store):
    keep(store, "mae-base")
    keep(store, "mae-base-encoder")
    init = {"weights": "mae-base", "more": [{"weights": "mae-base-encoder"}]}
    error = refusal(**init)
    assert "mae-base (raw pixels), mae-base-encoder (normalised pixels)" in error.what
    assert "`--set init.mix_families=true`" in error.fix
    assert len(locate(Init.model_validate(init | {"mix_families": True}))) == 2


def test_mae_beside_a_stem_of_another_kind_is_no_mixture(store):
    keep(store, "mae-base")
    keep(store, "convnext-large")
    init = {"weights": "mae-base", "more": [{"weights": "convnext-large"}]}
    assert len(locate(Init.model_validate(init))) == 2


def test_pixels_of_another_normalisation_are_warned_of_with_the_way_to_mend_it(store):
    keep(store, "augreg-large")
    sources = locate(Init(weights="augreg-large"))
    (warning,) = pixel_warnings(sources, Data())
    assert "`--set data.pixel_mean=[127.5,127.5,127.5] --set data.pixel_std=[127.5," in warning
    half = (127.5, 127.5, 127.5)
    assert pixel_warnings(sources, Data(pixel_mean=half, pixel_std=half)) == []
    keep(store, "mae-base")
    assert pixel_warnings(locate(Init(weights="mae-base")), Data()) == []
