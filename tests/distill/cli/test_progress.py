"""What a log file gets of a training."""

import pytest

from distill.cli import progress
from distill.cli.progress import SweepLines, TrainingLines
from distill.training.progress import TrainingPoint


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns, and the lines that are printed."""
    now, lines = [100.0], []
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(progress.errors, "print", lambda said, **how: lines.append(said))
    return now, lines


def test_a_line_an_epoch_and_one_every_half_minute_between(clock):
    now, lines = clock
    report = TrainingLines("mine, seed 0")
    report(TrainingPoint(0, 4000, 1, 2, notes=("teacher: right on 93.2 % of the test images",)))
    for second in range(1, 101):
        now[0] = 100.0 + second
        report(TrainingPoint(second * 20, 4000, 1, 2, loss=2.0 if second % 10 == 0 else None))
    report(TrainingPoint(2000, 4000, 1, 2, loss=1.5, metrics={"val_top1": 0.812}))
    assert lines == [
        "mine, seed 0: teacher: right on 93.2 % of the test images",
        "mine, seed 0: epoch 1/2, loss 2.000, 20 images/s, 2:50 left",
        "mine, seed 0: epoch 1/2, loss 2.000, 20 images/s, 2:20 left",
        "mine, seed 0: epoch 1/2, loss 2.000, 20 images/s, 1:50 left",
        "mine, seed 0: epoch 1/2, loss 1.500, val top1 81.2 %, 20 images/s, 1:40 left",
    ]


def test_a_training_that_goes_on_counts_its_pace_from_where_it_began(clock):
    now, lines = clock
    report = TrainingLines("mine, seed 0")
    report(TrainingPoint(3000, 4000, 2, 2))
    now[0] += 10
    report(TrainingPoint(3500, 4000, 2, 2, loss=1.0, metrics={}))
    assert lines == ["mine, seed 0: epoch 2/2, loss 1.000, 50 images/s, 0:10 left"]


def test_a_sweep_says_what_starts_and_ends(clock):
    _, lines = clock
    report = SweepLines()
    for done, where in ((0, "kd/seed-0"), (0, "kd/seed-0"), (1, "kd/seed-1"), (2, "")):
        report(done, 2, where)
    assert lines == ["0/2 runs, under way: kd/seed-0", "1/2 runs, under way: kd/seed-1", "2/2 runs"]
