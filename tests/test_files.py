"""Files that appear whole or not at all, one line of fitting advice where they cannot be, directories that are held."""

import errno
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xkd_eval.errors import XkdError
from xkd_eval.files import check_output, locked, replacing, writing


@pytest.mark.parametrize("durable", [False, True])
def test_readers_see_the_former_file_until_the_new_one_is_whole(tmp_path, durable):
    path = tmp_path / "a.bin"
    path.write_bytes(b"former")
    with replacing(path, durable=durable) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"former"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_former_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.bin"
    path.write_bytes(b"former")
    with pytest.raises(error), replacing(path) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"former" and list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a.bin"
    with replacing(path) as one, replacing(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one", "the one that ends last"


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "none" / "a.bin"):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from xkd_eval.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_directory_is_one_process_s_until_it_ends_however_it_ends(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(XkdError, match=rf"output: '.*' is in use by another process \(number {holder.pid}\)"):
            locked(tmp_path).__enter__()
    finally:
        holder.kill()
        holder.communicate()
    with locked(tmp_path):
        pass


def test_a_directory_is_held_once_within_a_process_and_given_back(tmp_path):
    with locked(tmp_path / "new"), pytest.raises(XkdError, match=rf"runs: .*number {os.getpid()}"):
        locked(tmp_path / "new", "runs").__enter__()
    with locked(tmp_path / "new"):
        pass


def test_a_forked_process_does_not_keep_its_parents_directory(tmp_path):
    """As a decoding process does that outlives a training by the seconds until it notices."""
    with locked(tmp_path):
        context = multiprocessing.get_context("fork")
        ready = context.Event()
        child = context.Process(target=lambda: ready.set() or time.sleep(600))
        child.start()
        assert ready.wait(60)
    try:
        with locked(tmp_path):
            pass
    finally:
        child.kill()
        child.join()


def test_a_disk_that_knows_no_locks_is_used_without(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", unsupported)
    with locked(tmp_path), locked(tmp_path):
        pass


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EDQUOT, "make room"),
        (errno.EACCES, "choose another directory, or allow"),
        (errno.EROFS, "choose a directory on a disk"),
        (errno.ENOMEM, "choose another directory"),
    ],
)
def test_advice_fits_the_reason(number, expected):
    with pytest.raises(XkdError) as caught, writing("output 'a':", kept="the former file is kept"):
        raise OSError(number, os.strerror(number))
    message = f"output 'a': cannot be written ({os.strerror(number)}); the former file is kept; {expected}"
    assert str(caught.value).startswith(message)


def test_places_that_no_file_can_have(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    expected = {
        "a" * 300: "a shorter name",
        "file/a": "a part of that path is a file",
        "loop/a": "a link there leads to itself",
        "a\0b": "another name",
        "a\ud800": "another name",
    }
    for name, remedy in expected.items():
        with pytest.raises(XkdError, match=rf"^output: cannot be written \(.*\); .*{remedy}") as caught:  # noqa: SIM117
            with writing("output:"), replacing(tmp_path / name):
                pass
        assert "\n" not in str(caught.value)


def test_what_is_no_failure_to_write_passes():
    with pytest.raises(XkdError, match=r"^mine$"), writing("output:"):
        raise XkdError("mine")
    with pytest.raises(KeyError), writing("output:"):
        raise KeyError("a mistake of ours")


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "link").symlink_to("a.bin")
    for content in (b"one", b"two"):
        with replacing(tmp_path / "link") as file:
            file.write(content)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "a.bin").read_bytes() == content


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null"), Path("/dev/stdout"), tmp_path):
        with pytest.raises(XkdError, match=r"^output: .* cannot be written .*choose another name$"):
            check_output(path)
        with pytest.raises(OSError), replacing(path):
            pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_an_output_is_none_of_the_inputs(tmp_path):
    (tmp_path / "a.pt").touch()
    (tmp_path / "link.pt").symlink_to("a.pt")
    check_output(tmp_path / "new.pt", [tmp_path / "new.pt", "timm/resnet18"])
    for name in ("a.pt", "link.pt"):
        with pytest.raises(XkdError, match=r"^output: .* is one of the inputs; choose another name"):
            check_output(tmp_path / name, ["xkd/resnet8", str(tmp_path / "a.pt")])
