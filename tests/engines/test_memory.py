"""Memory is kept while networks run, and given back behind them."""

from __future__ import annotations

import json
import subprocess
import sys
from threading import Event, Thread

import pytest
import torch

from xkd_eval.engines import memory
from xkd_eval.engines.memory import memory_kept

CPU = torch.device("cpu")

# In a process whose C library nobody has spoken to: pages that are mapped while five tensors of 48 MiB are made and let
# go, one after the other, once the heap has found its shape.
SCRIPT = """
import json, resource, torch
from xkd_eval.engines.memory import memory_kept

def faults():
    for _ in range(20):
        torch.ones(12 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(12 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

without = faults()
with memory_kept(torch.device("cpu")):
    with memory_kept(torch.device("cpu")):
        pass
    within = faults()
print(json.dumps([without, within]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
def test_large_tensors_are_mapped_each_time_without_and_not_within():
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    without, within = json.loads(run.stdout)
    assert 3 * within < without


def test_threads_that_run_side_by_side_keep_it_until_the_last_is_done(monkeypatch):
    asked: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, parameter: int, value: int) -> int:
            asked.append((parameter, value))
            return 1

        def malloc_trim(self, pad: int) -> int:
            asked.append((0, pad))
            return 1

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library())
    ready, done = Event(), Event()

    def run() -> None:
        with memory_kept(CPU):
            ready.set()
            done.wait()

    with memory_kept(CPU):
        thread = Thread(target=run)
        thread.start()
        ready.wait()
    assert [parameter for parameter, _ in asked] == [-4, -1], "asked once, and not yet given back"
    done.set()
    thread.join()
    assert [parameter for parameter, _ in asked] == [-4, -1, -4, -3, -1, 0]


def test_an_accelerator_asks_nothing_of_the_c_library(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("the C library was asked"))
    with memory_kept(torch.device("meta")):
        pass
