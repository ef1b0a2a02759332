"""Options by a backbone's name: ours load without torch, a third party's in another process."""

import os
import subprocess
import sys
from traceback import format_exception

import pytest
from installing import install

from mimdet_cli import backbone_options, plugins
from mimdet_cli.backbone_class import backbone_class
from mimdet_cli.errors import PluginError, RecipeError
from mimdet_cli.recipe.load import load_recipe
from mimdet_cli.recipe.reading import Origin

OPTIONS = """\
from pydantic import model_validator
from mimdet_cli.plugin_api import BackboneOptions

class Options(BackboneOptions):
    width: int = 8
    \"\"\"Channels.\"\"\"
    shares: tuple[float, ...] = (1.0, 0.5)
    \"\"\"Two numbers.\"\"\"

    @model_validator(mode="after")
    def _odd(self):
        if self.width == 13:
            raise KeyError("no width of 13")
        if self.width == 99:
            import os
            os.abort()
        return self
"""
CLASS = """
from mimdet_cli.plugin_api import Backbone

class Theirs(Backbone):
    Options = Options
    depth = 0
    def forward(self, images, sizes): ...
    def depth_of(self, name): ...
"""
HERE = {"backbone.width": Origin("mine.yaml", 3)}


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv(plugins.SWITCH, raising=False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("theirs"):
            del sys.modules[name]


@pytest.fixture
def theirs(site):
    """A backbone without declared options."""
    install(site, "theirs", "theirs = theirs_module:Theirs", OPTIONS + CLASS)


@pytest.fixture
def declared(site):
    """One whose options are in a separate module, and whose class cannot be loaded."""
    (site / "theirs_options.py").write_text(OPTIONS)
    broken = "raise RuntimeError('no compiler')"
    install(site, "theirs", "theirs = theirs_module:X", broken, "theirs = theirs_options:Options")


def ours() -> list[plugins.Registration]:
    found = [registration for registration in plugins.registrations() if registration.ours]
    assert len(found) >= 5
    return found


def test_every_backbone_of_ours_declares_the_options_of_its_class():
    for registration in ours():
        assert plugins.options_registration(registration) is not None
        assert (
            backbone_options.options_class(registration.name)
            is backbone_class(registration.name).Options
        )


def test_options_of_ours_load_without_torch():
    names = [registration.name for registration in ours()]
    script = (
        "import sys; from mimdet_cli.backbone_options import options_class, schema\n"
        f"for name in {names}: options_class(name)(), schema(name)\n"
        "print({'torch', 'numpy', 'timm', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_plugin_api_loads_torch_only_for_what_needs_it():
    script = (
        "import sys; from mimdet_cli.plugin_api import BackboneOptions, Norm\n"
        "print('torch' in sys.modules)\n"
        "from mimdet_cli import plugin_api\n"
        "print([name for name in plugin_api.__all__ if not hasattr(plugin_api, name)])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n[]\n", "")


def test_recipe_of_ours_is_completed_with_its_own_options():
    full = backbone_options.complete_for_display(load_recipe("vitdet_base_100ep"))
    options = full.recipe.backbone.options
    assert type(options) is backbone_options.options_class("vitdet")
    assert full.recipe.model_dump()["backbone"] == {
        "name": "vitdet",
        **options.model_dump(mode="json"),
    }


def test_third_partys_options_are_completed_in_a_process_of_their_own(theirs):
    options = backbone_options.check("theirs", {"width": 3}, {})
    assert options.model_dump(mode="json") == {"width": 3, "shares": [1.0, 0.5]}
    assert "theirs_module" not in sys.modules
    assert list(backbone_options.schema("theirs")["properties"]) == ["width", "shares"]


def test_options_checked_apart_do_not_tell_how_tokens_are_sampled(theirs):
    with pytest.raises(TypeError, match=r"use `build\.complete`"):
        _ = backbone_options.check("theirs", {}, {}).token_sampling


def test_third_partys_wrong_values_are_reported_with_their_lines(theirs):
    with pytest.raises(RecipeError) as caught:
        backbone_options.check("theirs", {"width": "wide", "wdth": 3}, HERE)
    errors = [(error.what, error.where, error.fix) for error in caught.value.each()]
    assert errors == [
        ("'backbone.wdth' is not a recipe key.", "default", "did you mean 'width'?"),
        ("'backbone.width' cannot be 'wide'.", "mine.yaml, line 3", "give a whole number."),
    ]


@pytest.mark.parametrize(
    ("width", "what"),
    [
        (13, "the backbone 'theirs' failed: KeyError: 'no width of 13'"),
        (99, "the backbone 'theirs' cannot be loaded: its import ended the process: SIGABRT"),
    ],
)
def test_validator_that_fails_is_the_plugins_fault(theirs, width, what):
    with pytest.raises(PluginError) as caught:
        backbone_options.check("theirs", {"width": width}, {})
    assert caught.value.what == what
    assert "of theirs 1.0" in caught.value.where


def test_declared_options_are_asked_without_the_class_unless_it_is_wanted(declared):
    options = backbone_options.check("theirs", {"width": 3}, {})
    assert options.model_dump(mode="json")["width"] == 3
    assert list(backbone_options.schema("theirs")["properties"]) == ["width", "shares"]
    with pytest.raises(PluginError, match="cannot be loaded: RuntimeError: no compiler") as caught:
        backbone_options.check("theirs", {"width": 3}, {}, whole=True)
    assert "theirs_module.py" in "".join(format_exception(caught.value))


def test_declared_options_of_a_third_party_need_no_torch(declared, site):
    code = "raise ImportError('torch is not wanted here')"
    (site / "torch.py").write_text(code)
    script = (
        "from mimdet_cli.backbone_options import check\n"
        "print(check('theirs', {'width': 3}, {}).model_dump())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.stdout, done.stderr) == ("{'width': 3, 'shares': [1.0, 0.5]}\n", "")


def test_class_with_other_options_than_declared_is_refused(site):
    (site / "theirs_options.py").write_text(OPTIONS)
    install(
        site, "theirs", "theirs = theirs_module:Theirs", OPTIONS + CLASS,
        "theirs = theirs_options:Options",
    )  # fmt: skip
    with pytest.raises(PluginError) as caught:
        backbone_class("theirs")
    assert caught.value.what == (
        "the `Options` of the backbone 'theirs' are not those that its distribution registers."
    )
    assert caught.value.where == "theirs_options:Options of theirs 1.0"


def test_declared_options_have_to_be_a_class_of_options(site):
    install(
        site,
        "theirs",
        "theirs = theirs_module:Theirs",
        "Theirs = 3",
        "theirs = theirs_module:Theirs",
    )
    with pytest.raises(PluginError, match="are not a subclass of BackboneOptions"):
        backbone_options.check("theirs", {}, {})
