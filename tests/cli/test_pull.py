"""`mimdet pull`: what it refuses, and what replaced its old options; the Hub is in `tests/e2e`."""

import pytest

pytestmark = pytest.mark.usefixtures("store")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give at least one NAME."),
        ("mae-base --as other", "--as requires OWNER/REPOSITORY."),
        ("mae-base deit-tiny --revision main", "--revision requires exactly one NAME."),
        ("mae-base --from a --dry-run", "--from and --dry-run cannot be combined."),
        ("mae-base --from a --revision main", "--from and --revision cannot be combined."),
    ],
)
def test_options_that_would_be_ignored_are_refused(mimdet, words, message):
    outcome = mimdet("pull", *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"error: {message}\n")
    assert "`mimdet pull --help`" in outcome.err


def test_names_that_are_unknown_are_all_reported(mimdet):
    outcome = mimdet("pull", "mae-bsae", "nothing")
    assert (outcome.code, outcome.out) == (4, "")
    assert outcome.err == (
        "error: 'mae-bsae' is neither a known name nor OWNER/REPOSITORY on the Hub.\n"
        "  fix: did you mean `mimdet pull mae-base`?\n"
        "error: 'nothing' is neither a known name nor OWNER/REPOSITORY on the Hub.\n"
        "  fix: `mimdet weights ls` lists the names.\n"
    )


@pytest.mark.parametrize(
    ("words", "option", "fix"),
    [
        ("--list", "--list", "`mimdet weights ls`"),
        ("--list --json", "--list", "`mimdet weights ls --json`"),
        ("--import x.pth --as a --format mae", "--import",
         "`mimdet weights import x.pth --as a --format mae`"),
        ("--import x.pth", "--import", "`mimdet weights import x.pth --as NAME`"),
        ("--import x.pth --as a --relock --json", "--import",
         "`mimdet weights relock a --import x.pth --json`"),
        ("mae-base deit-tiny --to usb", "--to", "`mimdet pull mae-base deit-tiny`, then "
         "`mimdet weights export mae-base deit-tiny --to usb`"),
        ("timm/x --format timm --as short --to usb", "--to", "`mimdet pull timm/x --as short "
         "--format timm`, then `mimdet weights export short --to usb`"),
        ("mae-large --relock --revision main", "--relock",
         "`mimdet weights relock mae-large --revision main`"),
        ("mae-base --relock --dry-run", "--relock", "`mimdet weights relock mae-base --dry-run`"),
        ("mine --from usb --relock", "--relock", "`mimdet weights relock mine --from usb`"),
    ],
)  # fmt: skip
def test_old_option_names_the_command_that_replaced_it(mimdet, store, words, option, fix):
    outcome = mimdet("pull", *words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        f"error: {option} is not an option of `mimdet pull`.\n  fix: run {fix}.\n"
    )
    assert not store.exists()


def test_old_options_are_not_in_the_help(mimdet):
    text = mimdet("pull", "--help").out
    assert not [option for option in ("--list", "--import", "--to ", "--relock") if option in text]
