"""Files that appear whole or not at all, and one line of fitting advice where they cannot be written."""

import errno
import os

import pytest

from xkd_eval.errors import XkdError
from xkd_eval.files import replacing, writing


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
