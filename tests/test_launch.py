"""What a process knows of the group that it was started in."""

import os

import pytest

from xkd_eval.launch import (
    handed_over,
    is_first_process,
    is_launched,
    is_left_alone,
    is_silent,
    local_processes,
    own_cores,
)
from xkd_eval.study.options import RunOptions


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK", "NODE_RANK", "SLURM_NODEID", "XKD_LAUNCHED"):
        monkeypatch.delenv(name, raising=False)


def grouped(monkeypatch, rank: int, processes: int = 2) -> None:
    given = {"LOCAL_RANK": rank, "RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))


def test_a_process_alone_speaks(monkeypatch):
    assert (is_launched(), is_silent(), local_processes()) == (False, False, 1)
    monkeypatch.setenv("SLURM_NODEID", "1")  # a job of several commands, each on a machine of its own
    assert not is_silent()
    assert not handed_over("error")


@pytest.mark.parametrize(("rank", "silent"), [(0, False), (1, True)])
def test_of_a_group_the_first_one_speaks(monkeypatch, rank, silent):
    grouped(monkeypatch, rank)
    assert (is_launched(), is_first_process(), is_silent()) == (True, not silent, silent)
    assert not handed_over("error"), "torchrun started it, and nobody would say the error in its place"


def test_last_words_are_left_to_the_launcher(monkeypatch, tmp_path):
    monkeypatch.setenv("XKD_LAUNCHED", str(tmp_path))
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    grouped(monkeypatch, 1)
    assert handed_over("stopped", interruption=True) and not list(tmp_path.iterdir()), "the first one's count"
    assert handed_over("refused") and "refused" in (tmp_path / "error.json").read_text()
    grouped(monkeypatch, 0)
    assert handed_over("stopped", interruption=True)
    assert (tmp_path / "interruption.txt").read_text() == "stopped"


@pytest.mark.parametrize(
    ("error", "alone", "expected"),
    [
        (RuntimeError("[../gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.0.1]:4242"), False, True),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:525] Connection closed by peer [127.0.0.1]:4242"), True, False),
        (RuntimeError("shape '[2]' is invalid"), False, False),
        (ValueError("gloo"), False, False),
    ],
)
def test_who_is_left_alone_by_the_others(monkeypatch, error, alone, expected):
    if not alone:
        grouped(monkeypatch, 1)
    assert is_left_alone(error) is expected


def test_processes_share_the_cores_among_their_decoding_workers(monkeypatch):
    bind(monkeypatch, 8)
    assert (own_cores(), RunOptions().workers_for(1000)) == (8, 7)
    grouped(monkeypatch, 0, processes=4)
    assert (own_cores(), RunOptions().workers_for(1000)) == (2, 1)
    assert RunOptions(workers=5).workers_for(1000) == 5


def bind(monkeypatch, cores: int) -> None:
    """As taskset, Slurm and containers do; the machine has more."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


@pytest.mark.parametrize(("cores", "n_images", "expected"), [(1, 256, 1), (2, 256, 1), (64, 256, 16), (64, 255, 0)])
def test_workers_by_default(monkeypatch, cores, n_images, expected):
    bind(monkeypatch, cores)
    assert RunOptions().workers_for(n_images) == expected


def test_where_no_process_is_bound_all_cores_count(monkeypatch):
    bind(monkeypatch, 8)
    monkeypatch.delattr(os, "sched_getaffinity")
    assert own_cores() == 64
    grouped(monkeypatch, 0, processes=128)
    assert own_cores() == 1
