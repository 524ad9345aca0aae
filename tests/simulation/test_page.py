"""A table on the page is replaced, and nothing else."""

from __future__ import annotations

import pytest

from tests.simulation.page import Table

TABLE = Table("birds", "| bird |\n|---|")


def test_its_rows_are_replaced_and_the_rest_of_the_page_stays() -> None:
    page = "# Title\n<!-- birds -->\n<!-- /birds -->\nAfter.\n"

    once = TABLE.rewritten(page, ["| owl |"])
    twice = TABLE.rewritten(once, ["| wren |", "| rook |"])

    assert TABLE.rows_in(once) == ["| owl |"]
    assert TABLE.rows_in(twice) == ["| wren |", "| rook |"]
    assert twice.startswith("# Title\n<!-- birds -->\n| bird |\n|---|\n")
    assert twice.endswith("<!-- /birds -->\nAfter.\n")


def test_a_page_without_a_place_for_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="no place for the table: <!-- birds -->"):
        TABLE.rewritten("# Title\n", ["| owl |"])
