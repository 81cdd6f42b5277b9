"""Damage in a zip archive of weights is found wherever it lies, and named; what is read is what was written."""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path

import pytest
import torch

from xkd_eval.classifiers.weights.files import read_weight_file
from xkd_eval.errors import XkdError

WEIGHTS = {"fc.weight": torch.arange(24.0).reshape(3, 8), "fc.bias": torch.tensor([1.0, 2.0, 3.0])}


@pytest.fixture
def path(tmp_path) -> Path:
    torch.save(WEIGHTS, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def flipped(content: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << bit
    return bytes(changed)


def is_read_as_written(path: Path) -> bool:
    """Whether it is; False where it is refused in one line."""
    try:
        read = read_weight_file(path)
    except XkdError as error:
        assert "\n" not in str(error) and str(error).startswith(f"weights: {str(path)!r} ")
        return False
    assert read.keys() == WEIGHTS.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in WEIGHTS.items())
    return True


@pytest.mark.parametrize("bit", range(8))
def test_a_flipped_bit_in_a_tensor_is_found_and_its_record_named(path, bit):
    content = path.read_bytes()
    place = content.index(WEIGHTS["fc.weight"].numpy().tobytes()) + 13
    path.write_bytes(flipped(content, place, bit))
    with pytest.raises(XkdError, match=r"w\.pth' is damaged in its record 'w/data/0' \(Bad CRC-32.*\); copy"):
        read_weight_file(path)


def test_a_flipped_bit_in_the_directory_never_changes_what_is_read(path):
    """Among them the one that makes a record a folder, for which torch gives whatever lies in memory."""
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        start = archive.start_dir
    entry = content.index(b"w/data/0", start)
    harmless = 0
    for place in range(entry - 46, entry + 8):
        for bit in range(8):
            path.write_bytes(flipped(content, place, bit))
            harmless += is_read_as_written(path)
    assert 0 < harmless < 54 * 8 / 2, "dates and the like are read by nobody, sizes and places are"


@pytest.mark.parametrize("cut", [1, 22, 100, 1000])
def test_a_cut_file(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(XkdError, match=r"is truncated or damaged \(.*\); copy or download it again"):
        read_weight_file(path)


def rewritten(path: Path, compression: int = zipfile.ZIP_STORED, twice: bool = False, folder: str = "") -> None:
    with zipfile.ZipFile(path) as archive:
        records = [(record.filename, archive.read(record)) for record in archive.infolist()]
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", compression) as archive:
        warnings.simplefilter("ignore")  # zipfile remarks on a name that stands twice
        for name, content in [*records, *records[-1:] * twice]:
            archive.writestr(folder + name, content)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "has a compressed, encrypted or otherwise odd record ('w/data.pkl')"),
        ({"compression": zipfile.ZIP_BZIP2}, "has a compressed, encrypted or otherwise odd record ('w/data.pkl')"),
        ({"twice": True}, "(it holds 'w/.data/serialization_id' 2 times)"),
        ({"folder": "../"}, "is a zip archive without weights in it"),
    ],
)
def test_archives_that_torch_did_not_write(path, how, reason):
    rewritten(path, **how)
    with pytest.raises(XkdError, match=re.escape(reason)):
        read_weight_file(path)


def test_a_bomb_is_refused_before_it_is_unpacked(path):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data/9", bytes(10**8))
    assert path.stat().st_size < 10**6
    with pytest.raises(XkdError, match=r"compressed, encrypted or otherwise odd record \('w/data/9'\)"):
        read_weight_file(path)


def test_records_that_lie_on_each_other(path):
    """Stored a thousand times over, 100 kB would take 100 MB to read through."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("w/large", bytes(10_000))
        first = archive.getinfo("w/large")
        for place in range(10):
            copy = zipfile.ZipInfo(f"w/large{place}")
            copy.header_offset, copy.CRC = first.header_offset, first.CRC
            copy.compress_size = copy.file_size = first.file_size
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    with pytest.raises(XkdError, match="its records do not lie one behind the other"):
        read_weight_file(path)
