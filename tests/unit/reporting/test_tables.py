from mimdet_cli.reporting.tables import ap_rows, class_rows
from mimdet_cli.text_table import markdown_table, text_table

ROW = {"ap": 51.66, "ap50": 70.0, "ap75": 8.25, "ap_s": None, "ap_m": 1.0, "ap_l": 2.0}
BOXES = {f"box_{name}": value for name, value in ROW.items()}
MASKS = {f"mask_{name}": value for name, value in ROW.items()}
REPORT = {**BOXES, "per_class": {"cell": {"box_ap": 51.66}, "rod|bar": {"box_ap": None}}}


def test_text_is_aligned_with_numbers_to_the_right_and_dashes_for_none():
    assert text_table(*ap_rows(REPORT)).splitlines() == [
        "       AP  AP50  AP75  APs  APm  APl",
        "---  ----  ----  ----  ---  ---  ---",
        "box  51.7  70.0   8.2    -  1.0  2.0",
    ]


def test_markdown_is_aligned_and_escapes_bars():
    assert markdown_table(*class_rows(REPORT)).splitlines() == [
        "| class    | box AP |",
        "| -------- | -----: |",
        "| cell     |   51.7 |",
        "| rod\\|bar |      - |",
    ]


def test_masks_get_a_row_and_a_column_when_they_were_scored():
    both = {**REPORT, **MASKS, "per_class": {"cell": {"box_ap": 51.66, "mask_ap": 50.0}}}
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
