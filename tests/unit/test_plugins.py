"""Backbones are found by entry-point name, in distributions that really lie on the path."""

import os
import sys

import pytest
from installing import install

from mimdet_cli import plugins
from mimdet_cli.errors import PluginError


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(plugins.SWITCH, raising=False)
    return tmp_path


@pytest.fixture
def twins(site):
    """Two distributions that register the name `twin`."""
    install(site, "first", "twin = first_module:X", "class X: pass")
    install(site, "Second_One", "twin = Second_One_module:X", "class X: pass")


def test_our_own_backbone_is_found_like_any_other():
    assert "mimdet" in plugins.names()
    assert plugins.find("mimdet").value == "backbones.mimdet:MIMDet"
    assert plugins.find("mimdet:vitdet") == plugins.find("vitdet")


def test_third_party_backbone_is_found_without_importing_it(site):
    install(site, "swin", "swin-fpn = swin_module:Swin", "raise RuntimeError('imported')")
    assert "swin-fpn" in plugins.names()
    assert plugins.find("swin-fpn").value == "swin_module:Swin"


def test_loading_returns_the_class(site):
    install(site, "fine", "fine = fine_module:Fine", "class Fine: pass")
    assert plugins.load("fine").__name__ == "Fine"


def test_unknown_name_suggests_its_nearest_neighbour():
    with pytest.raises(PluginError) as caught:
        plugins.find("mimdt")
    assert caught.value.what == "there is no backbone called 'mimdt'."
    assert caught.value.fix == "did you mean 'mimdet'?"


def test_unknown_name_without_a_neighbour_lists_what_is_installed():
    with pytest.raises(PluginError) as caught:
        plugins.find("resnet")
    assert caught.value.fix.startswith(f"use one of {', '.join(plugins.names())}")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("mimdet:resnet", "it provides mimdet, timm_fpn, vit_adapter, vit_fpn, vitdet."),
        ("nobody:resnet", "check that the distribution is installed."),
    ],
)
def test_unknown_name_of_a_distribution_says_what_that_brings(name, fix):
    with pytest.raises(PluginError) as caught:
        plugins.find(name)
    assert caught.value.fix == fix


def test_name_registered_by_two_distributions_names_both_and_how_to_choose(twins):
    with pytest.raises(PluginError) as caught:
        plugins.find("twin")
    assert caught.value.what == "several distributions provide a backbone called 'twin'."
    assert caught.value.where == "first 1.0 and Second_One 1.0"
    assert caught.value.fix == "choose one: first:twin or second-one:twin."


@pytest.mark.parametrize("name", ["second-one:twin", "Second_One:twin", "SECOND.ONE:twin"])
def test_distribution_before_the_name_chooses_in_any_spelling(twins, name):
    assert plugins.find(name).value == "Second_One_module:X"
    assert plugins.recipe_name(plugins.find(name)) == "second-one:twin"


def test_distribution_that_lies_on_the_path_twice_is_one_and_the_first_counts(site, monkeypatch):
    install(site / "old", "my_pkg", "once = my_pkg_module:Old")
    install(site / "new", "My-Pkg", "once = my_pkg_module:New")
    monkeypatch.syspath_prepend(site / "old")
    monkeypatch.syspath_prepend(site / "new")
    assert plugins.find("once").value == "my_pkg_module:New"
    assert [registration.name for registration in plugins.registrations()].count("once") == 1


def test_our_name_stays_ours_and_the_other_is_reported_once(site, capsys):
    install(site, "latecomer", "vitdet = latecomer_module:X", "class X: pass")
    for _ in range(2):
        assert plugins.load("vitdet").__name__ == "ViTDet"
    assert plugins.load("latecomer:vitdet").__name__ == "X"
    assert capsys.readouterr().err == (
        "warning: 'vitdet' is mimdet's own backbone; "
        "use latecomer:vitdet for the one from latecomer 1.0.\n"
    )


@pytest.mark.parametrize(
    ("switch", "usable"),
    [
        ("", ["first", "Second_One"]),
        ("all", ["first", "Second_One"]),
        ("none", []),
        ("0", []),
        ("second.one", ["Second_One"]),
        ("first, second-one", ["first", "Second_One"]),
    ],
)
def test_switch_says_whose_backbones_are_used(twins, monkeypatch, switch, usable):
    monkeypatch.setenv(plugins.SWITCH, switch)
    theirs = [registration for registration in plugins.registrations() if not registration.ours]
    assert [registration.distribution for registration in theirs if registration.allowed] == usable
    assert plugins.find("vitdet").ours


def test_switched_off_name_says_who_brings_it_and_what_switches_it_on(twins, monkeypatch):
    monkeypatch.setenv(plugins.SWITCH, "first")
    assert plugins.find("twin").distribution == "first"
    with pytest.raises(PluginError) as caught:
        plugins.find("second-one:twin")
    assert str(caught.value) == (
        "the backbone 'second-one:twin' from Second_One 1.0 is switched off.; "
        "at: MIMDET_PLUGINS=first (--no-plugins sets it to none); "
        "fix: omit --no-plugins, or set MIMDET_PLUGINS to second-one."
    )


@pytest.mark.parametrize("before", [None, "first"])
def test_only_ours_ends_with_what_was_set_before(twins, monkeypatch, before):
    if before is not None:
        monkeypatch.setenv(plugins.SWITCH, before)
    with plugins.only_ours(True):
        assert "twin" not in plugins.names()
    assert os.environ.get(plugins.SWITCH) == before
    with plugins.only_ours(False):
        assert "twin" in plugins.names()


@pytest.mark.parametrize(
    ("source", "reason", "line"),
    [
        ("\nraise RuntimeError('no GPU\\n here')", "RuntimeError: no GPU here", 2),
        ("import not_installed_anywhere", "ModuleNotFoundError: No module named", 1),
        ("import sys\nsys.exit(3)", "SystemExit: 3", 2),
        ("def f(:\n", "SyntaxError: invalid syntax", 1),
        ("import pytest\npytest.skip('x', allow_module_level=True)", "Skipped: x", 2),
        ("raise ValueError('x' * 5000)", "ValueError: ...", 1),
        ("", "AttributeError: module", None),
    ],
)
def test_failing_import_names_the_line_the_distribution_and_the_reason(
    site, source, reason, line, request
):
    name = f"broken{abs(hash(request.node.name))}"
    install(site, name, f"broken = {name}_module:X", source)
    with pytest.raises(PluginError) as caught:
        plugins.load("broken")
    assert caught.value.exit_code == 5
    assert caught.value.what.startswith(f"the backbone 'broken' cannot be loaded: {reason}")
    place = f"{site / name}_module.py, line {line}," if line else f"{name}_module:X"
    assert caught.value.where == f"{place} of {name} 1.0"


def test_missing_module_names_what_the_distribution_declares(site):
    install(site, "gone", "gone = gone_elsewhere:X")
    with pytest.raises(PluginError) as caught:
        plugins.load("gone")
    assert caught.value.where == "gone_elsewhere:X of gone 1.0"


def test_interrupt_during_an_import_passes(site):
    install(site, "stopped", "stopped = stopped_module:X", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        plugins.load("stopped")


def test_slow_import_is_reported_while_it_lasts(site, monkeypatch, capsys):
    install(site, "slow", "slow = slow_module:X", "import time\ntime.sleep(0.5)\nclass X: pass")
    monkeypatch.setattr(plugins, "SLOW_IMPORT_S", 0.1)
    assert plugins.load("slow").__name__ == "X"
    assert capsys.readouterr().err == "still importing slow_module of slow 1.0 after 0 s\n"


def test_error_raised_in_a_third_partys_code_is_theirs_and_any_other_is_not(site):
    install(site, "later", "later = later_module:fail", "def fail():\n    return 1 / 0")
    fail = plugins.load("later")
    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    theirs = plugins.blame(caught.value)
    assert str(theirs) == (
        "the backbone 'later' failed: ZeroDivisionError: division by zero; "
        f"at: {site / 'later_module.py'}, line 2, of later 1.0; "
        "fix: run `mimdet backbones check later:later`, or use `--traceback`."
    )
    with pytest.raises(ZeroDivisionError) as caught:
        1 / 0  # noqa: B018
    assert plugins.blame(caught.value) is None


def test_checkpoint_finds_the_distribution_it_was_made_with(twins):
    kept = plugins.record("first:twin")
    assert kept == {"name": "twin", "distribution": "first", "version": "1.0"}
    assert plugins.pinned_name("twin", kept, "plugin.json") == "first:twin"
    assert plugins.pinned_name("first:twin", kept, "plugin.json") == "first:twin"
    assert plugins.pinned_name("second-one:twin", kept, "plugin.json") == "second-one:twin"
    assert plugins.record("vitdet") is None


def test_checkpoint_whose_distribution_is_gone_says_what_to_install():
    kept = {"name": "twin", "distribution": "first", "version": "1.0"}
    with pytest.raises(PluginError) as caught:
        plugins.pinned_name("twin", kept, "run/last/plugin.json")
    assert str(caught.value) == (
        "the backbone 'twin' is not installed; the checkpoint was made with first 1.0.; "
        "at: run/last/plugin.json; fix: `pip install first==1.0`."
    )


def test_listing_names_does_not_import_torch_or_anybodys_package(site):
    install(site, "lazy", "lazy = lazy_module:X", "raise RuntimeError('imported')")
    assert "lazy" in plugins.names()
    assert "lazy_module" not in sys.modules


def test_names_promised_to_plugins_are_there():
    from mimdet_cli import plugin_api

    assert len(plugin_api.__all__) >= 9
    assert all(hasattr(plugin_api, name) for name in plugin_api.__all__)
