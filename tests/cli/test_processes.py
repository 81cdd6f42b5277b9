"""`--devices`: several processes share the images of one command; told by real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.distill.processes import ended, wait_for
from xkd_eval import compare, perturbation_test

# Where KILLED is set it is slow enough to be met in the middle, and the process of that rank kills itself there.
EXPLAINER = """
import os, signal, time
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from xkd_eval import Explainer

CALLS = count(1)

@dataclass(frozen=True)
class Slow(Explainer):
    name = "slow"
    citation = "none"
    cost = "none"

    def __call__(self, classifier, images, classes, context=None):
        rank = os.environ.get("RANK", "0")
        if next(CALLS) == 4:
            Path(f"scoring-{rank}").touch()
            if rank == os.environ.get("KILLED"):
                while not Path("scoring-0").is_file():  # so that the other has something to keep
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)
        if "KILLED" in os.environ:
            time.sleep(0.2)
        return images.mean(1)
"""
RUN = (
    *("perturbation", "--explainer", "py:slow:Slow", "--limit", "60", "--batch-size", "4"),
    *("--no-floors", "--device", "cpu", "-o", "run"),
)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "slow.py").write_text(EXPLAINER)
    return tmp_path


def started(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """xkd-eval ARGUMENTS in a group of processes of its own, its stdout left in the folder."""
    command = [sys.executable, "-m", "xkd_eval", *arguments]
    given = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    with (folder / "out.txt").open("w") as out:
        return subprocess.Popen(
            command, cwd=folder, env=given, text=True, start_new_session=True, stdout=out, stderr=subprocess.PIPE
        )


def by_this_process(folder: Path) -> tuple[list[dict], dict]:
    """Rows and scores of the run of RUN, or of the rest of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.chdir(folder)
        patch.delitem(sys.modules, "slow", raising=False)
        found = perturbation_test(
            "embedded", explainer="py:slow:Slow", limit=60, batch_size=4, device="cpu", figures=False, output="run"
        )
    return found.rows.to_pylist(), {**found.summary, "images_per_second": None}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[list[dict], dict]:
    """Nobody disturbs it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "slow.py").write_text(EXPLAINER)
    return by_this_process(folder)


@pytest.mark.parametrize("devices", ["2", pytest.param("3", marks=pytest.mark.long)])
def test_a_comparison_has_the_summaries_of_one_process(tmp_path, devices):
    models, tests = ("embedded/teacher", "embedded/kd"), ("segmentation", "agreement")
    given = ("compare", *models, "--until", "8", "--test", ",".join(tests), "--no-floors", "--gallery", "0")
    code, err = ended(started(tmp_path, *given, "--device", "cpu", "--devices", devices, "-o", "several"))
    assert code == 0, err
    assert (tmp_path / "out.txt").read_text().count("report: several/report.html") == 1
    compare(models, until=8, tests=tests, floors=False, gallery=0, device="cpu", output=tmp_path / "one")
    one, several = (summaries(tmp_path / name) for name in ("one", "several"))
    assert one == several and len(one) == 4
    assert all('"stopped_after": 200' in summary for summary in one.values())


def summaries(output: Path) -> dict[str, str]:
    """Path -> what summary.json says, but for the speed and the digest of all."""
    files = {str(file.relative_to(output)): json.loads(file.read_text()) for file in output.rglob("summary.json")}
    return {path: json.dumps({**said, "images_per_second": None, "digest": None}) for path, said in files.items()}


# An explainer whose module sets the clock by which images are waited for: each look at it is ten seconds later.
WAITED_FOR = """
from itertools import count
from types import SimpleNamespace
from slow import Slow
from xkd_eval.study import waiting

ticks = count()
waiting.time = SimpleNamespace(monotonic=lambda: 10.0 * next(ticks))
waiting._LEAST_IMAGES = 4
waiting.own_cores = lambda: 4
"""


def test_that_models_wait_is_said_once_for_all_processes(folder):
    (folder / "waited.py").write_text(WAITED_FOR)
    given = [word.replace("py:slow:", "py:waited:") for word in RUN]
    code, err = ended(started(folder, *given, "--devices", "2", "--workers", "1"))
    assert code == 0, err
    # Batches of four, each waited for as long as the models ran before it.
    note = "note: decoding gives 0.4 images/s by 1 worker in each of 2 processes, and the models wait 50 % of the time"
    assert [line for line in err.splitlines() if "decoding" in line] == [
        f"{note} for them; --workers 2 would keep them busy"
    ]


def test_a_killed_process_takes_the_other_down_and_the_next_run_continues(folder, whole):
    code, err = ended(started(folder, *RUN, "--devices", "2", KILLED="1"))
    assert code == 2
    assert err.splitlines()[-1] == (
        "error: --devices: process 1 died with exit code -9; what it printed is above, and what is done is kept"
    )
    assert "Traceback" not in err
    kept = read_positions(folder / "run")
    assert kept and all(position % 2 == 0 for position in kept), "those of the process that was not killed"
    assert by_this_process(folder) == whole


def read_positions(directory: Path) -> list[int]:
    parts = directory.rglob("*.parquet")
    return sorted(position for part in parts for position in pq.read_table(part)["position"].to_pylist())


def test_a_signal_to_the_launcher_keeps_what_is_done_and_is_said_once(folder, whole):
    process = started(folder, *RUN, "--devices", "2", KILLED="none")
    for rank in (0, 1):
        wait_for(folder / f"scoring-{rank}")
    process.send_signal(signal.SIGTERM)
    code, err = ended(process)
    assert code == 143
    assert [line for line in err.splitlines() if "interrupted" in line] == [
        "interrupted; what is done is kept: the same command continues"
    ]
    assert {position % 2 for position in read_positions(folder / "run")} == {0, 1}
    assert by_this_process(folder) == whole


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--devices", "2", "--data", "nowhere"), "error: --data: 'nowhere' does not exist"),
        (("--nodes", "2"), "error: --nodes: 2 found, and neither NODE_RANK with MASTER_ADDR"),
    ],
)
def test_what_is_refused_is_said_once(tmp_path, arguments, line):
    names = [name for name in os.environ if name.startswith(("SLURM_", "MASTER_", "NODE_"))]
    code, err = ended(started(tmp_path, "perturbation", *arguments, **dict.fromkeys(names, "")))
    assert code == 2
    assert len(err.splitlines()) == 1 and err.startswith(line), err
