"""The numbers at the ends of a colour bar."""

from __future__ import annotations

import pytest

from xkd_eval.figures.colour_bar import end_labels


@pytest.mark.parametrize(
    ("low", "high", "texts"),
    [
        (0.000865, 8.88, ("0.00", "8.88")),
        (-0.0001, 8.88, ("0.00", "8.88")),
        (-2.9, 7.15, ("−2.9", "7.2")),
        (5.001, 5.002, ("5.001", "5.002")),
        (0.0, 250.0, ("0", "250")),
        (0.0, 3.2e-7, ("0", "3.2e−07")),
        (1e6, 1e6 + 1, ("1000000", "1000001")),
    ],
)
def test_ends_have_the_digits_that_their_difference_needs(low, high, texts):
    assert end_labels(low, high) == texts
