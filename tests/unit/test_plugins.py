"""Backbones are found by entry-point name, in distributions that really lie on the path."""

import sys
from pathlib import Path

import pytest

from mimdet_cli import plugins
from mimdet_cli.errors import PluginError


def install(folder: Path, distribution: str, line: str, source: str = "") -> None:
    """A distribution of one module, as pip would leave it."""
    info = folder / f"{distribution}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{line}\n")
    (folder / f"{distribution}_module.py").write_text(source)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_our_own_backbone_is_found_like_any_other():
    assert "mimdet" in plugins.names()
    assert plugins.find("mimdet").value == "backbones.mimdet:MIMDet"


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


def test_name_claimed_by_two_distributions_names_both(site):
    install(site / "a", "first", "twin = first_module:X")
    install(site / "b", "second", "twin = second_module:X")
    sys.path[:0] = [str(site / "a"), str(site / "b")]
    try:
        with pytest.raises(PluginError) as caught:
            plugins.find("twin")
    finally:
        del sys.path[:2]
    assert caught.value.what == "the backbone name 'twin' is claimed twice."
    assert caught.value.where == "first 1.0 and second 1.0"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no GPU here')", "RuntimeError: no GPU here"),
        ("import not_installed_anywhere", "ModuleNotFoundError: No module named"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("", "AttributeError: module"),
    ],
)
def test_failing_import_names_the_distribution_and_the_reason(site, source, reason, request):
    name = f"broken{abs(hash(request.node.name))}"
    install(site, name, f"broken = {name}_module:X", source)
    with pytest.raises(PluginError) as caught:
        plugins.load("broken")
    assert caught.value.exit_code == 5
    assert caught.value.what.startswith(f"the backbone 'broken' cannot be loaded: {reason}")
    assert caught.value.where == f"{name}_module:X of {name} 1.0"


def test_names_promised_to_plugins_are_there():
    from mimdet_cli import plugin_api

    assert len(plugin_api.__all__) >= 9
    assert all(hasattr(plugin_api, name) for name in plugin_api.__all__)
