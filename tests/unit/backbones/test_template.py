"""Templates match whole names, fill them, and refuse what is no template with what to write."""

import pytest

from backbones.contract import ParameterRule
from backbones.key_maps.rename import KeyMap, Stack
from backbones.key_maps.template import TemplateError, template


@pytest.mark.parametrize(
    ("text", "name", "holes"),
    [
        ("blocks.{i}.{leaf}", "blocks.12.bias", {"i": "12", "leaf": "bias"}),
        ("blocks.{i}.{leaf}", "blocks.12.gamma", None),
        ("blocks.{i}.{leaf}", "blocks.x.bias", None),
        ("conv{i}_{k}", "conv1_2", {"i": "1", "k": "2"}),
        ("stem.{rest}", "stem.0.conv.weight", {"rest": "0.conv.weight"}),
        ("stem.{rest}", "stem.", None),
        ("stem.{rest}", "the.stem.weight", None),
        ("{path}_norm.{leaf}", "a.b.q_norm.bias", {"path": "a.b.q", "leaf": "bias"}),
        ("fpn.{kind}.w", "fpn.lateral.w", {"kind": "lateral"}),
        ("fpn.{kind}.w", "fpn.lateral.0.w", None),
        ("{cls|reg}_token", "reg_token", {"cls|reg": "reg"}),
        ("{part:attn.q|attn.k}.w", "attn.k.w", {"part": "attn.k"}),
        ("{first:0}.w", "0.w", {"first": "0"}),
        ("a.b", "axb", None),
    ],
)
def test_a_template_matches_whole_names_and_fills_them_again(text, name, holes):
    found = template(text).match(name)
    assert found == holes
    assert found is None or template(text).fill(found) == name


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"stem\..*", "stem.{rest}"),
        (r"blocks\.\d+\.ls\d\.gamma", "blocks.{i}.ls{j}.gamma"),
        (r"(?:encoder|decoder)\.(.*)", "{encoder|decoder}.{rest}"),
        (r".*\.bias", "{path}.bias"),
        (r"(?P<stage>[012]\.)?fc", None),
        (r"blocks.\1", None),
    ],
)
def test_a_regular_expression_is_refused_with_the_template_to_write(pattern, instead):
    with pytest.raises(TemplateError) as caught:
        ParameterRule(pattern)
    says = str(caught.value)
    assert says.startswith(f"'{pattern}' is a regular expression; rules are templates such as")
    assert says.endswith(f": write '{instead}'." if instead else "{leaf}'.")


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"a.{i}": "b.{j}"}, "'b.{j}' has the hole '{j}', which 'a.{i}' does not fill; it has {i}"),
        ({"a": "b.{i}"}, "it has no holes"),
        ({"a.{i}.{i}": "b"}, "two holes with the same name"),
        ({"a.{}": "b"}, "has the hole '{}'; give it a name"),
        ({"a.{leaf": "b"}, "is a regular expression"),
        ({"a.{q|}": "b"}, "is a regular expression"),
        ({"a": 3}, "'a' has the rule 3; give a template, Drop, Stack or Trim"),
        ({"a.{i}": Stack("b.{i}", ("q", "k"))}, "needs the hole '{part}'"),
        ({"a.{part}": Stack("b.{part}", ("q", "k"))}, "has the hole '{part}'"),
    ],
)
def test_wrong_rule_is_reported_when_the_map_is_made(rules, says):
    with pytest.raises(TemplateError) as caught:
        KeyMap(rules)
    assert says in str(caught.value)


@pytest.mark.parametrize("fields", [{"fresh": (r"a\..*",)}, {"resize": {r"a\..*": max}}])
def test_fresh_and_resized_names_are_templates_too(fields):
    with pytest.raises(TemplateError, match="is a regular expression"):
        KeyMap({}, **fields)


def test_a_hole_of_ours_is_of_the_kind_that_the_file_says():
    key_map = KeyMap({"blocks_{first:0|1}.{rest}": "blocks.{first}.{rest}"})
    (rule,) = key_map.parsed
    assert rule.ours.match("blocks.1.bias") == {"first": "1", "rest": "bias"}
    assert rule.ours.match("blocks.2.bias") is None
