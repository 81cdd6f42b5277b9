"""Means and deviations over seeds."""

from distill.runs.tables import mean_and_deviation


def test_means_over_seeds():
    assert mean_and_deviation([71.0, 72.0, 73.0]) == "72.00 ± 1.00"
    assert mean_and_deviation([71.234]) == "71.23"
    assert mean_and_deviation([]) == ""
