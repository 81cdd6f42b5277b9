import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import PIPE

import h5py
import numpy as np
import pytest

from tests.datasets.files import noise, write_mat
from xkd_eval.datasets import loader, mat73, open_dataset
from xkd_eval.datasets.handles import PerProcess
from xkd_eval.datasets.mat73 import Mat73Error, read_arrays, read_layout, read_size
from xkd_eval.errors import XkdError


@pytest.fixture
def packed(tmp_path):
    """Three images, each in one compressed chunk, and their masks."""
    images = [noise(40, 50, seed=k) for k in range(3)]
    return write_mat(tmp_path / "packed.mat", images, [np.full((40, 50), k, np.uint8) for k in range(3)], compression=4)


def crash_hdf5(path, which):
    """Claim in the chunk index that a chunk takes no byte, from which HDF5 2.0 dies."""
    content = bytearray(path.read_bytes())
    place = -1
    for _ in range(which + 1):
        place = content.index(b"TREE\x01", place + 1)
    content[place + 24 : place + 28] = bytes(4)
    path.write_bytes(content)


def test_arrays_are_what_hdf5_says(packed):
    assert read_layout(packed) == (["#refs#", "value"], [3, 1], [3, 1], True)
    for k in range(3):
        image, mask = read_arrays(packed, k)
        assert (image == noise(40, 50, seed=k).T).all()
        assert (mask == k).all() and mask.dtype == np.uint8
        assert read_size(packed, k) == 40 * 50 * 4


@pytest.mark.parametrize("workers", [0, 2])
def test_where_hdf5_crashes_an_image_is_lost_alone(packed, workers):
    crash_hdf5(packed, which=1)
    items = list(loader.stream(open_dataset(str(packed)), range(3), workers=workers))
    assert [type(item) for item in items] == [loader.Item, loader.Skipped, loader.Item]
    assert items[1].id == "0001"
    assert items[1].reason.startswith("damaged in 'packed.mat' (")


def test_a_crash_is_told_with_its_signal(packed, monkeypatch):
    command = [sys.executable, "-c", "import os, sys; sys.stdin.readline(); os.abort()"]
    monkeypatch.setattr(mat73, "_PROCESS", PerProcess(mat73._Process))
    monkeypatch.setattr(mat73, "_start", lambda: subprocess.Popen(command, stdin=PIPE, stdout=PIPE))
    with pytest.raises(XkdError, match=r"damaged, or no HDF5 \(the HDF5 library crashes on it: SIGABRT\); expected"):
        open_dataset(str(packed))


def test_a_process_that_something_else_ended_is_started_again(packed):
    assert (read_arrays(packed, 0)[1] == 0).all()
    child = mat73._PROCESS.get()._child
    os.kill(child.pid, signal.SIGKILL)
    assert (read_arrays(packed, 1)[1] == 1).all()
    assert child.poll() == -signal.SIGKILL


def test_what_is_left_of_an_interrupted_answer_is_not_the_next(packed, monkeypatch):
    def interrupt(stream, kind, shape):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(mat73, "_array", interrupt)
        read_arrays(packed, 0)
    assert read_size(packed, 1) == 40 * 50 * 4
    assert (read_arrays(packed, 2)[1] == 2).all()


def test_threads_take_turns(packed):
    with ThreadPoolExecutor(8) as pool:
        for k, (image, mask) in enumerate(pool.map(lambda k: read_arrays(packed, k % 3), range(120))):
            assert (image == noise(40, 50, seed=k % 3).T).all() and (mask == k % 3).all()


def test_another_file_in_the_place_of_one_is_opened_anew(packed, tmp_path):
    assert (read_arrays(packed, 0)[1] == 0).all()
    with h5py.File(tmp_path / "other.mat", "w") as file:
        for name in ("img", "gt"):
            file.create_dataset(f"value/{name}", (1, 1), dtype=h5py.ref_dtype)
    (tmp_path / "other.mat").replace(packed)
    assert read_layout(packed).images == [1, 1]


def test_the_file_is_found_from_another_folder(packed, monkeypatch):
    monkeypatch.chdir(packed.parent)
    assert read_layout(Path("packed.mat")).images == [3, 1]
    with pytest.raises(Mat73Error, match="No such file"):
        read_layout(Path("missing.mat"))
