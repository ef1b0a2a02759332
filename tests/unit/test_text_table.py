"""Columns of text, for every table that is printed or written."""

from mimdet_cli.text_table import align, text_table


def test_columns_are_two_spaces_apart_and_lines_have_no_spaces_at_their_end():
    assert align([("name", "AP"), ("base_50pct", 51.7), ("demo", "")]) == [
        "name        AP",
        "base_50pct  51.7",
        "demo",
    ]
    assert align([("a", "b")]) == ["a  b"]
    assert align([]) == []


def test_all_columns_but_the_first_may_stand_to_the_right():
    assert align([("name", "ms"), ("a", "12.5"), ("b", "7.0")], right=True) == [
        "name    ms",
        "a     12.5",
        "b      7.0",
    ]


def test_figures_in_words_are_aligned_among_themselves():
    table = text_table(["cell", "its interval", "p"], [["a", "1 to 2", "0.5"], ["b", "-", "-"]],
                       figures=True)  # fmt: skip
    assert table.splitlines() == [
        "cell  its interval    p",
        "----  ------------  ---",
        "a     1 to 2        0.5",
        "b          -          -",
    ]
    assert text_table(["cell", "p"], [], figures=True) == "cell  p\n----  -"


def test_digits_and_whole_numbers_are_shown_as_asked():
    assert text_table(["n", "s"], [[12, 0.12345], [3, None]], digits=3).splitlines() == [
        " n      s",
        "--  -----",
        "12  0.123",
        " 3      -",
    ]


def test_table_without_rows_is_its_heading():
    assert text_table(["name", "AP"], []) == "name  AP\n----  --"
