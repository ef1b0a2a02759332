from mimdet_cli.reporting.tables import ap_rows, class_rows, markdown_table, text_table

ROW = {"AP": 51.66, "AP50": 70.0, "AP75": 8.25, "APs": None, "APm": 1.0, "APl": 2.0, "AR100": 60.0}
REPORT = {
    "box": ROW,
    "mask": None,
    "per_class": {"cell": {"box": 51.66, "mask": None}, "rod|bar": {"box": None, "mask": None}},
}


def test_text_is_aligned_with_numbers_to_the_right_and_dashes_for_none():
    assert text_table(*ap_rows(REPORT)).splitlines() == [
        "       AP  AP50  AP75  APs  APm  APl  AR100",
        "---  ----  ----  ----  ---  ---  ---  -----",
        "box  51.7  70.0   8.2    -  1.0  2.0   60.0",
    ]


def test_markdown_is_aligned_and_escapes_bars():
    assert markdown_table(*class_rows(REPORT)).splitlines() == [
        "| class    | box AP |",
        "| -------- | -----: |",
        "| cell     |   51.7 |",
        "| rod\\|bar |      - |",
    ]


def test_masks_get_a_row_and_a_column_when_they_were_scored():
    both = {**REPORT, "mask": ROW}
    assert [row[0] for row in ap_rows(both)[1]] == ["box", "mask"]
    assert class_rows(both)[0] == ["class", "box AP", "mask AP"]


def test_digits_and_whole_numbers_are_shown_as_asked():
    assert text_table(["n", "s"], [[12, 0.12345], [3, None]], digits=3).splitlines() == [
        " n      s",
        "--  -----",
        "12  0.123",
        " 3      -",
    ]


def test_table_without_rows_is_its_heading():
    assert text_table(["name", "AP"], []) == "name  AP\n----  --"
