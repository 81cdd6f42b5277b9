"""Models that wait for decoded images: when it is said, and how many workers it takes; on clocks of the tests' own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from xkd_eval import evaluate, load_classifier
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.study import waiting
from xkd_eval.study.waiting import Pace, Waiting


class Clock:
    """It moves where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(waiting, "time", made)
    monkeypatch.setattr(waiting, "own_cores", lambda: 8)
    return made


@pytest.fixture
def said(caplog):
    """What was said of it so far."""
    return lambda: [found for record in caplog.records if (found := record.getMessage()).startswith("decoding ")]


@pytest.mark.parametrize(
    ("workers", "waited", "needed"),
    [
        # 16 s in all. A worker that decodes for 16 s what the models run in 4 has to be four.
        (1, 12.0, 4),
        (2, 12.0, 8),
        (1, 8.0, 2),
        (3, 4.0, 4),
        # In the process of the models, decoding is what they wait for: 12 s of it go into 4 s of theirs.
        (0, 12.0, 3),
        (0, 8.0, 1),
        (0, 4.0, 1),
    ],
)
def test_workers_needed(workers, waited, needed):
    assert Pace(1000, 16.0, waited, workers).workers_needed == needed


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_with_the_workers_needed_models_do_not_wait(workers):
    """Of each image's time for decoding and for the models, told by what a pass of that many workers takes."""
    decoding, models, images = 0.03, 0.004, 1000
    in_step = max(decoding / workers, models) if workers else decoding + models
    pace = Pace(images, images * in_step, images * (in_step - models), workers)
    assert decoding / pace.workers_needed <= models < decoding / (pace.workers_needed - 1)


@pytest.mark.parametrize(
    ("pace", "processes", "cores", "expected"),
    [
        (
            Pace(3400, 10.0, 6.25, 1),
            1,
            8,
            "decoding gives 340.0 images/s by 1 worker, and the models wait 62 % of the time for them; "
            "`workers` 3 would keep them busy",
        ),
        (
            Pace(3400, 10.0, 6.25, 1),
            2,
            4,
            "decoding gives 680.0 images/s by 1 worker in each of 2 processes, and the models wait 62 % of the time "
            "for them; `workers` 3 would keep them busy",
        ),
        (
            Pace(10240, 10.0, 7.5, 2),
            1,
            8,
            "decoding gives 1,024.0 images/s by 2 workers, and the models wait 75 % of the time for them; `workers` 7 "
            "would help, and there is no core for more",
        ),
        (
            Pace(300, 100.0, 50.0, 1),
            1,
            2,
            "decoding gives 3.0 images/s by 1 worker, and the models wait 50 % of the time for them; there is no core "
            "for more workers; images of fewer pixels decode faster, and models and tests of one command share what is "
            "decoded",
        ),
        (
            Pace(3000, 20.0, 10.0, 0),
            1,
            2,
            "decoding gives 300.0 images/s in this process, and the models wait 50 % of the time for them; `workers` 1 "
            "would keep them busy",
        ),
    ],
    ids=["enough", "processes", "some help", "no core", "no worker"],
)
def test_it_says_what_to_do(pace, processes, cores, expected):
    assert pace.notice(processes, cores) == expected


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        (Pace(256, 10.0, 2.5, 1), True),
        (Pace(255, 10.0, 9.0, 1), False),
        (Pace(10_000, 9.9, 9.0, 1), False),
        (Pace(10_000, 1000.0, 240.0, 1), False),
    ],
)
def test_when_it_is_worth_a_word(pace, expected):
    assert pace.is_starved is expected


def test_models_that_take_no_time_need_more_than_there_are():
    assert "there is no core for more" in Pace(1000, 10.0, 10.0, 1).notice(1, 8)


def passed(watch: Waiting, clock: Clock, decoding: list[float], models: float, workers: int = 1) -> None:
    """A pass of batches of 32 images: the seconds for which each is waited, and that the models run."""

    def batches():
        for seconds in decoding:
            clock.now += seconds
            yield [None] * 32

    came = 0
    for batch in watch.watched(batches(), workers):
        came += len(batch)
        clock.now += models
    assert came == 32 * len(decoding)


def test_it_is_said_once_a_run_as_soon_as_it_is_sure(clock, said):
    watch = Waiting(1)
    passed(watch, clock, [1.0] * 8, models=1.0)
    assert said() == [], "256 images, of which the first batch does not count"
    clock.now = 100.0
    passed(watch, clock, [1.0] * 9, models=1.0)
    # 8 batches were waited for a second each, and before each the models ran for one.
    assert said() == [
        "decoding gives 16.0 images/s by 1 worker, and the models wait 50 % of the time for them; `workers` 2 would "
        "keep them busy"
    ]
    passed(watch, clock, [3.0] * 40, models=1.0)
    assert len(said()) == 1


def test_the_start_of_workers_is_no_waiting(clock, said):
    passed(Waiting(1), clock, [1000.0] + [0.25] * 40, models=1.0)
    assert said() == []
    passed(Waiting(1), clock, [], models=1.0)  # nothing is left to be scored
    assert said() == []


def test_models_that_are_slower_do_not_wait(clock, said):
    passed(Waiting(1), clock, [0.0] * 100, models=1.0)
    assert said() == []


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_of_several_processes_the_first_one_says_it(clock, said, monkeypatch, rank, lines):
    for name, value in {"LOCAL_RANK": rank, "RANK": rank, "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    passed(Waiting(2), clock, [1.0] * 20, models=1.0)
    assert len(said()) == lines


class SlowImages(EmbeddedDataset):
    """Each takes so many seconds to decode, on the clock of the test."""

    def __init__(self, clock: Clock, seconds: float, size: int) -> None:
        super().__init__("test", size=size)
        self.clock, self.seconds = clock, seconds

    def load(self, position: int):
        self.clock.now += self.seconds
        return super().load(position)


class SlowNet(nn.Module):
    """Each of its forwards takes a second, whatever there is in it, on the clock of the test."""

    clock: Clock

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, stride=4), nn.Linear(4, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        SlowNet.clock.now += 1.0
        return self.head(self.conv(images).relu().mean((2, 3)))


@pytest.mark.parametrize(
    ("seconds", "size", "expected"),
    [
        # A batch of 32 photographs is four forwards, and of decoding 12 s: two workers need 6 s for it, three 4 s.
        (
            0.375,
            320,
            "decoding gives 2.7 images/s in this process, and the models wait 75 % of the time for them; `workers` 3 "
            "would keep them busy",
        ),
        (0.0, 320, None),
        (0.375, 64, None),
    ],
    ids=["slow", "fast", "short"],
)
def test_a_run_says_that_its_models_wait(clock, said, monkeypatch, seconds, size, expected):
    monkeypatch.setattr(SlowNet, "clock", clock, raising=False)
    torch.manual_seed(0)
    classifier = load_classifier(SlowNet(), size=(40, 40), mean=0.5, std=0.25)
    images = SlowImages(clock, seconds, size)
    evaluate(classifier, images, tests="segmentation", explainers="cam", device="cpu", workers=0)
    assert said() == ([] if expected is None else [expected])
