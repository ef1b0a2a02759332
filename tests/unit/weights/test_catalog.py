"""What the catalogue says, and that everything in the repository which names weights is in it."""

import re

import yaml

from mimdet_cli.recipe.catalog import shipped_folder, shipped_names
from mimdet_cli.recipe.load import load_recipe
from mimdet_cli.weights.catalog import IMAGENET, entries, weights_folder

MAE = {"raw pixels", "normalised pixels"}


def test_every_entry_says_what_it_is_and_where_it_comes_from():
    known = entries()
    assert len(known) >= 25
    for name, entry in known.items():
        assert entry.about, name
        assert entry.family, name
        assert entry.licence, name
        assert entry.format, name
        assert (entry.repo is None) == (entry.where is not None), name
        assert (entry.repo is None) == (entry.file is None), name
        assert entry.pixel_mean is not None, name
        assert entry.pixel_std is not None, name


def test_what_is_not_known_is_left_open_and_never_invented():
    for entry in entries().values():
        assert entry.revision is None or re.fullmatch("[0-9a-f]{40}", entry.revision)
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)


def test_two_families_of_mae_are_told_apart():
    known = entries()
    assert {known[name].family for name in ("mae-base", "mae-large")} == {"raw pixels"}
    normalised = ("mae-base-full", "mae-large-full", "mae-base-encoder", "mae-huge-encoder")
    assert {known[name].family for name in normalised} == {"normalised pixels"}
    assert all((one.family in MAE) == name.startswith("mae-") for name, one in known.items())


def test_conflicting_licences_of_maes_hub_files_are_noted():
    for name in ("mae-base", "mae-large"):
        assert "CC-BY-NC-4.0" in (entries()[name].licence_note or "")


def test_pixels_are_imagenets_but_for_augreg_and_beit():
    other = {n for n, one in entries().items() if one.pixel_mean != IMAGENET["pixel_mean"]}
    assert other == {"augreg-tiny", "augreg-small", "augreg-base", "augreg-large", "beit-large"}
    assert {entries()[name].pixel_mean for name in other} == {(127.5, 127.5, 127.5)}


def test_weights_that_stand_in_for_others_are_imports():
    instead = {name: one.instead for name, one in entries().items() if one.instead}
    assert instead == {"mae-base": "mae-base-full", "mae-large": "mae-large-full"}
    assert all(entries()[name].repo is None for name in instead.values())


def test_weights_of_every_shipped_recipe_are_in_the_catalogue():
    names = shipped_names()
    assert len(names) >= 40
    for name in names:
        init = load_recipe(shipped_folder() / f"{name}.yaml", []).recipe.init
        for weights in [init.weights, *(one.weights for one in init.more)]:
            assert weights is None or weights in entries(), name


def test_file_of_the_catalogue_has_no_misspelt_field():
    from importlib import resources

    text = resources.files("mimdet_cli.weights").joinpath("catalog.yaml").read_text()
    assert list(yaml.safe_load(text)) == list(entries())


def test_folder_follows_the_environment_and_the_user_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("MIMDET_WEIGHTS", str(tmp_path / "mine"))
    assert weights_folder() == tmp_path / "mine"
    monkeypatch.delenv("MIMDET_WEIGHTS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "mimdet" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert weights_folder() == tmp_path / "home" / ".cache" / "mimdet" / "weights"
