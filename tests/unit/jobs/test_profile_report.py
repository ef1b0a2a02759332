"""The table of published figures: every row belongs to a recipe and says where it is from."""

import pytest

from mimdet_cli.jobs.profile_report import published
from mimdet_cli.recipe.catalog import shipped_names

ROWS = published()


def test_table_is_not_short_and_names_shipped_recipes_only():
    assert len(ROWS) >= 45
    assert set(ROWS) <= set(shipped_names())


@pytest.mark.parametrize("name", ROWS)
def test_row_states_a_figure_and_its_source(name):
    row = ROWS[name]
    figures = (row.parameters_m, row.gmacs, row.latency_ms, row.step_memory_gb)
    assert any(figure is not None for figure in figures)
    assert row.source
    measured = row.latency_ms is not None or row.step_memory_gb is not None
    assert row.conditions or not measured  # a time or a size of memory needs its machine


def test_figures_of_mimdet_are_those_of_table_10():
    base, large = ROWS["base_50pct"], ROWS["large_50pct"]
    assert (base.parameters_m, base.gmacs, base.latency_ms) == (128, 933, 290)
    assert (large.parameters_m, large.gmacs, large.latency_ms) == (349, 2082, 580)
