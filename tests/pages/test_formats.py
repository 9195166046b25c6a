"""Numbers as text."""

import pytest

from pipeline.pages.formats import short_number, weights


@pytest.mark.parametrize(
    ("number", "text"),
    [(500, "500"), (2000, "2 k"), (1500, "1.5 k"), (1e5, "100 k"), (1e6, "1 M"), (2.5e6, "2.5 M")],
)
def test_a_number_of_an_axis_is_short(number, text):
    assert short_number(number) == text


@pytest.mark.parametrize(("number", "text"), [(18_200, "18 k weights"), (11.2e6, "11.2 M weights")])
def test_weights_are_in_thousands_or_millions(number, text):
    assert weights(number) == text
