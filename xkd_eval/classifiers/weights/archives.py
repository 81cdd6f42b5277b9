"""Zip archives as torch.save writes them: every record is held to its CRC-32, which torch.load does not look at."""

from __future__ import annotations

import zipfile
from collections import Counter
from typing import BinaryIO

from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short

DAMAGED, AGAIN = "is truncated or damaged", "copy or download it again"

_START = b"PK\x03\x04"
_CHUNK = 1 << 20
_ENCRYPTED = 0x1
_FOLDER = 0x10  # of which torch reads nothing, and takes what lies in memory for its content


def is_archive(file: BinaryIO) -> bool:
    """Whether a file is a zip archive, or was one before it was cut; it is at its start afterwards."""
    file.seek(0)
    found = file.read(len(_START)) == _START or zipfile.is_zipfile(file)
    file.seek(0)
    return found


def check_archive(file: BinaryIO, where: str) -> None:
    """Read a zip archive of weights through; it is at its start afterwards.

    What torch reads then is what was written: both find a record by the directory, and this one vouches for its bytes.

    Args:
        file: whole, open for reading.
        where: begins the messages: the argument and the file.

    Raises:
        XkdError: cut or damaged, the record named; TorchScript; not as torch.save writes it.
    """
    file.seek(0)
    begins_as_one = file.read(len(_START)) == _START
    size = file.seek(0, 2)
    with reading(f"{where} {DAMAGED}", AGAIN), zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        _check_kind({record.filename.split("/", 1)[-1] for record in records}, where)
        if not begins_as_one or sum(record.compress_size for record in records) > size:
            raise zipfile.BadZipFile("its records do not lie one behind the other")
        for record in records:
            _check_stored(record, where)
        for name, times in Counter(record.filename for record in records).items():
            if times > 1:
                raise zipfile.BadZipFile(f"it holds {short(name)} {times} times")
        for record in records:
            with reading(f"{where} is damaged in its record {short(record.filename)}", AGAIN):
                _read_through(archive, record)
    file.seek(0)


def _check_kind(parts: set[str], where: str) -> None:
    if "constants.pkl" in parts or any(part.startswith("code/") for part in parts):
        raise XkdError(
            f"{where} is a TorchScript archive, which runs code when it is loaded; "
            "save its tensors instead: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt'); or where you trust "
            "it name a function that returns torch.jit.load(FILE): py:mine:make"
        )
    if "archive_format" in parts and "data.pkl" not in parts:
        raise XkdError(
            f"{where} is a program of torch.export, which may run code when it is loaded; where you trust it name a "
            "function that returns torch.export.unflatten(torch.export.load(FILE)): py:mine:make; or export it as ONNX"
        )
    if "data.pkl" not in parts:
        raise XkdError(f"{where} is a zip archive without weights in it; expected a file that torch.save wrote")


def _check_stored(record: zipfile.ZipInfo, where: str) -> None:
    """torch stores records as they are; a compressed one may be of any size."""
    is_stored = record.compress_type == zipfile.ZIP_STORED and record.compress_size == record.file_size
    if not is_stored or record.flag_bits & _ENCRYPTED or record.external_attr & _FOLDER or record.is_dir():
        raise XkdError(
            f"{where} has a compressed, encrypted or otherwise odd record ({short(record.filename)}); {AGAIN}, or save "
            "it again: torch.save writes none"
        )


def _read_through(archive: zipfile.ZipFile, record: zipfile.ZipInfo) -> None:
    with archive.open(record) as content:  # compares the CRC-32 at the end
        while content.read(_CHUNK):
            pass
