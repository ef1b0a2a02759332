"""Bad input on the command line: one clear message each, on stderr, with exit code 2."""

import pytest

from mimdet_cli import __version__


def test_version_is_a_result(mimdet):
    outcome = mimdet("--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"mimdet {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("train", "nowhere"),
            "error: there is no recipe 'nowhere'.\n"
            "  fix: give a YAML file or a name from `mimdet recipe ls`.\n",
        ),
        (
            ("train", "base_50pc"),
            "error: there is no recipe 'base_50pc'.\n  fix: did you mean 'base_50pct'?\n",
        ),
        (
            ("train", "demo", "--set", "optimizer.layer_decat=1"),
            "error: 'optimizer.layer_decat' is not a recipe key.\n"
            "  at:  --set optimizer.layer_decat=1\n"
            "  fix: did you mean 'layer_decay'?\n",
        ),
        (
            ("train", "demo", "--set", "train.batch=many"),
            "error: 'train.batch' cannot be 'many'.\n"
            "  at:  --set train.batch=many\n"
            "  fix: give a whole number of at least 1.\n",
        ),
        (
            ("train", "demo", "--set", "data.flip=1.5", "--set", "head.norm=groupnorm"),
            "error: 'data.flip' cannot be 1.5.\n"
            "  at:  --set data.flip=1.5\n"
            "  fix: give a number from 0 to 1.\n"
            "error: 'head.norm' cannot be 'groupnorm'.\n"
            "  at:  --set head.norm=groupnorm\n"
            "  fix: give one of bn, syncbn, ln, gn, none.\n",
        ),
        (
            ("train",),
            "error: Missing argument 'RECIPE'.\n  fix: see `mimdet train --help`.\n",
        ),
        (
            ("train", "demo", "--sett", "a=1"),
            "error: No such option: --sett (Possible options: --seed, --set)\n"
            "  fix: see `mimdet train --help`.\n",
        ),
        (
            ("recipe", "shw"),
            "error: No such command 'shw'. Did you mean 'show'?\n"
            "  fix: see `mimdet recipe --help`.\n",
        ),
    ],
)
def test_bad_command_line_is_explained(mimdet, arguments, message):
    outcome = mimdet(*arguments)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", message)


def test_misspelt_key_names_its_nearest_neighbour_and_its_line(mimdet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.yaml").write_text("optimizer:\n  layer_decat: 0.8\ntrain: {steps: 5}\n")
    outcome = mimdet("train", "bad.yaml")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "error: 'optimizer.layer_decat' is not a recipe key.\n"
        "  at:  bad.yaml, line 2\n"
        "  fix: did you mean 'layer_decay'?\n"
    )
