"""Templates match whole names, fill them, and refuse anything else with an example."""

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
    "pattern",
    [
        r"stem\..*",
        r"(?:encoder|decoder)\.(.*)",
        r".*\.bias",
        r"blocks.\1",
        "a|b",
        "{a*|b}.c",
        "{kind:a|.+}.c",
    ],
)
def test_a_regular_expression_is_refused_with_an_example_of_a_template(pattern):
    with pytest.raises(TemplateError) as caught:
        ParameterRule(pattern)
    assert str(caught.value) == (
        f"'{pattern}' is a regular expression; write a template such as "
        "'blocks.{i}.{norm1|norm2}.{leaf}'."
    )


@pytest.mark.parametrize("text", ["a.{i", "a.i}", "a.{q|", "a.{i}}", "a.{b{i}}"])
def test_a_brace_without_its_partner_is_named_as_such(text):
    with pytest.raises(TemplateError) as caught:
        template(text)
    assert str(caught.value).startswith(f"'{text}' has a brace without its partner, or a hole in")


@pytest.mark.parametrize(
    ("hole", "says"),
    [
        ("{}", "name it, as in 'blocks.{i}"),
        ("{2}", "name it, as in 'blocks.{i}"),
        ("{:a|b}", "write one name before ':', as in '{kind:cls|reg}'."),
        ("{a|b:c}", "write one name before ':', as in '{kind:cls|reg}'."),
        ("{2:a|b}", "write one name before ':', as in '{kind:cls|reg}'."),
    ],
)
def test_a_hole_needs_a_name_unless_it_lists_words(hole, says):
    with pytest.raises(TemplateError) as caught:
        template(f"x.{hole}")
    assert str(caught.value).startswith(f"'x.{hole}' has the hole '{hole}'; {says}")


@pytest.mark.parametrize("hole", ["{x|}", "{|x}", "{x||y}", "{|}", "{kind:x|}", "{kind:}"])
def test_an_empty_word_is_named_as_such(hole):
    with pytest.raises(TemplateError) as caught:
        template(hole)
    assert str(caught.value).startswith(f"'{hole}' has an empty word in the hole '{hole}'; remove")


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ({"a.{i}": "b.{j}"}, "'b.{j}' has the hole '{j}', which 'a.{i}' does not fill; it has {i}"),
        ({"a": "b.{i}"}, "it has no holes"),
        ({"a.{i}.{i}": "b"}, "two holes with the same name"),
        ({"a": "b.{leaf"}, "'b.{leaf' has a brace without its partner"),
        ({"a": 3}, "'a' has the rule 3; give a template, Drop, Stack or Trim"),
        ({"a.{i}": Stack("b.{i}", ("q", "k"))}, "needs the hole '{part}'"),
        ({"a.{part}": Stack("b.{part}", ("q", "k"))}, "has the hole '{part}'"),
    ],
)
def test_a_wrong_rule_is_told_when_the_map_is_made(rules, says):
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
