"""Tar files read strictly: Python's tarfile takes a damaged header for the end, and drops whatever is behind it."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

from xkd_eval.foreign import check_regular, reading, short

_BLOCK = 512
# Writers end with two blocks of zeros and fill a record up with more: 20 blocks by default, other numbers by option.
# GNU tar leaves up to another record of them where it adds an archive to an archive.
_RECORDS = (20 * _BLOCK, *(2**power for power in range(14, 21)))
_FAULTS = {"EmptyHeaderError": "no end of the archive", "TruncatedHeaderError": "cut within a header"}


def members(path: Path, remedy: str) -> Iterator[tarfile.TarInfo]:
    """The members of an uncompressed tar file, in order; all of them, or an error.

    Args:
        path: of the file.
        remedy: what was expected, for the message.

    Raises:
        XkdError: no tar, compressed, a damaged header, a member that goes beyond the file's end, no end of the archive,
            or bytes behind it; with the place.
    """
    with reading(f"data: {str(path)!r} cannot be read as a tar shard", remedy):
        check_regular(path)
        size = path.stat().st_size
        with tarfile.open(path, "r:", tarinfo=StrictHeader, encoding="utf-8") as archive:
            for member in archive:
                if archive.offset > size:
                    raise tarfile.ReadError(f"{_called(member)} goes beyond the end, {size}")
                yield member
                # tarfile keeps a kilobyte of each, for who asks by name.
                archive.members.clear()  # type: ignore[attr-defined]
        _check_end(path, archive.offset, size)


class StrictHeader(tarfile.TarInfo):
    """A header that is damaged ends the reading with an error; tarfile would end it as if all had been read."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> tarfile.TarInfo:  # type: ignore[override]
        start = tarfile_.offset
        try:
            member = super().fromtarfile(tarfile_)
        except tarfile.HeaderError as error:
            if type(error).__name__ == "EOFHeaderError":
                raise
            fault = _FAULTS.get(type(error).__name__, f"damaged header, {error},")
            raise tarfile.ReadError(f"{fault} at byte {start}") from error
        said = member.pax_headers.get("size", str(member.size))
        # A size below 0 leads back to what was read already, for ever.
        if member.size < 0 or tarfile_.offset <= start or (said != str(member.size) and not member.issparse()):
            raise tarfile.ReadError(f"{_called(member)} has the size {short(said)}")
        return member


def _called(member: tarfile.TarInfo) -> str:
    return f"member {short(member.name)} at byte {member.offset}"


def _check_end(path: Path, end: int, size: int) -> None:
    with path.open("rb") as file:
        file.seek(end)
        tail = file.read(2 * max(_RECORDS) + 2 * _BLOCK)
    if len(tail) < 2 * _BLOCK:
        raise tarfile.ReadError(f"cut within the end of the archive at byte {end}")
    behind = len(tail) - len(tail.lstrip(b"\0"))
    if behind < len(tail):
        what = "one block of zeros" if behind < 2 * _BLOCK else "the end of the archive"
        raise tarfile.ReadError(
            f"{what} at byte {end}, and more data at byte {end + behind}: damage, or archives to be joined by "
            "tar --concatenate"
        )
    usual, rest = _RECORDS[0], size - end - 2 * _BLOCK
    if rest > 2 * usual and not any(size % record == 0 and rest <= 2 * record for record in _RECORDS):
        raise tarfile.ReadError(f"nothing but zeros from byte {end} to {size}, as where a download was not finished")
