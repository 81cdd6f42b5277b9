"""What a log file gets of an evaluation."""

from types import SimpleNamespace

import pytest

from xkd_eval.cli import progress
from xkd_eval.cli.progress import ProgressLines, progress_bar


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns, and the lines that are printed."""
    now, lines = [100.0], []
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(progress, "say_line", lines.append)
    return now, lines


def test_a_line_every_half_minute_and_none_of_quick_work(clock):
    now, lines = clock
    report = ProgressLines("scored")
    for second in range(101):
        now[0] = 100.0 + second
        report("perturbation", 10 * second, 4000)
    assert lines == [
        "perturbation: 300 of 4,000 scored, 6:10 left",
        "perturbation: 600 of 4,000 scored, 5:40 left",
        "perturbation: 900 of 4,000 scored, 5:10 left",
    ]


def test_what_was_there_before_took_no_time(clock):
    now, lines = clock
    report = ProgressLines("scored")
    report("", 3000, 4000)
    now[0] += 30
    report("", 3500, 4000)
    assert lines == ["3,500 of 4,000 scored, 0:30 left"]


def test_the_next_work_has_a_pace_of_its_own(clock):
    now, lines = clock
    report = ProgressLines("done")
    report("teacher", 0, 100)
    now[0] += 20
    report("teacher", 100, 100)
    report("student", 0, 100)
    now[0] += 20
    report("student", 10, 100)
    assert lines == ["student: 10 of 100 done, 3:00 left"]


def test_while_nothing_is_done_it_is_said_what_is_under_way(clock):
    now, lines = clock
    report = ProgressLines("scored")
    report("perturbation", 0, 100)
    now[0] += 45
    report("perturbation, map 1 of 32", 0, 100)
    assert lines == ["perturbation, map 1 of 32: 0 of 100 scored"]


@pytest.mark.parametrize(("terminal", "n_lines"), [(False, 1), (True, 0)], ids=["log file", "terminal"])
def test_a_terminal_has_a_bar_instead(clock, monkeypatch, terminal, n_lines):
    now, lines = clock
    monkeypatch.setattr(progress.errors, "is_interactive", terminal)
    with progress_bar() as report:
        now[0] += 31
        report("perturbation", 1, 2)
    assert len(lines) == n_lines


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (65, "1:05"), (3599.6, "1:00:00"), (3725, "1:02:05")])
def test_a_clock(seconds, shown):
    assert progress.clock(seconds) == shown
