"""The struct arrays that SciPy writes, and reads again, are read alike."""

import io
import struct
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from xkd_eval.datasets.matlab import read_structs

SYNSETS = {1: "n02119789", 90: "n02100735", 100: "n1"}


def content(compressed=False, numbers=int):
    synsets = np.zeros(len(SYNSETS), dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("children", "O")])
    for row, (number, text) in enumerate(SYNSETS.items()):
        synsets[row] = (numbers(number), text, np.arange(row))
    file = io.BytesIO()
    savemat(file, {"other": np.eye(3), "synsets": synsets.reshape(-1, 1)}, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("numbers", [int, float, np.uint16, np.int8])
def test_numbers_and_texts_as_scipy_reads_them(compressed, numbers):
    written = content(compressed, numbers)
    expected = loadmat(io.BytesIO(written), squeeze_me=True)["synsets"]
    found = read_structs(written, "synsets")
    assert [(row["ILSVRC2012_ID"], row["WNID"]) for row in found] == [
        (row["ILSVRC2012_ID"], row["WNID"]) for row in expected
    ]
    assert [row["children"] for row in found] == [None, 0, None]


def test_another_byte_order_and_sixteen_bit_text():
    """By hand: a struct of one element with the field a, of the text "n1"."""

    def element(kind, data):
        return np.array([kind, len(data)], ">u4").tobytes() + data + b"\0" * (-len(data) % 8)

    def matrix(class_, *parts):
        flags, dimensions = np.array([class_, 0], ">u4").tobytes(), np.array([1, 1], ">i4").tobytes()
        return element(14, element(6, flags) + element(5, dimensions) + b"".join(parts))

    text = matrix(4, element(1, b""), element(4, "n1".encode("utf-16-be")))
    struct_ = matrix(2, element(1, b"s"), bytes([0, 4, 0, 5, 0, 0, 0, 2]), element(1, b"a\0"), text)
    assert read_structs(b"\0" * 126 + b"MI" + struct_, "s") == [{"a": "n1"}]


def test_another_variable_and_a_cut_one():
    with pytest.raises(KeyError):
        read_structs(content(), "none")
    for compressed in (False, True):
        whole = content(compressed)
        for length in range(128, len(whole) - 8, 40):
            with pytest.raises((ValueError, KeyError, struct.error, zlib.error)):
                read_structs(whole[:length], "synsets")
