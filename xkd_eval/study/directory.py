"""The run directory: what was run (protocol.json), one row an image (rows/*.parquet), the scores (summary.json).

Parts are written as rows are made and each appears whole or not at all, so a killed run continues where it stopped.
Whatever is read back is verified to be what was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from xkd_eval.errors import XkdError
from xkd_eval.evaluations.protocol import differing_fields
from xkd_eval.files import writing
from xkd_eval.study.parts import PARTS, concatenated, drop_rows, in_order, stream_parts, write_part
from xkd_eval.study.records import Description, OtherReleaseError, Summary, identity_of, read_record, write_record
from xkd_eval.study.rows import Rows
from xkd_eval.study.summary import SUMMARY_AGAIN, check_summary
from xkd_eval.study.tally import Tally

_IDENTITY = (
    "test",
    "reference",
    "protocol",
    "model",
    "explainer",
    "precision",
    "engine",
    "settings",
    "data",
    "stopping",
)
_AGAIN = "choose another directory, or `overwrite`"


class RunDirectory:
    """One evaluation of one model on one data set.

    Args:
        path: created where absent.
        description: what is run, the plain values of a `Description`.
        overwrite: start afresh, whatever is there.
        figures: file names that a former run may have left beside its rows, for `overwrite`.

    Raises:
        XkdError: the directory cannot be written, holds another run (the differing fields are named) or foreign files.
    """

    def __init__(
        self, path: Path, description: dict[str, Any], *, overwrite: bool = False, figures: Sequence[str] = ()
    ) -> None:
        self.path = path
        self._description = json.loads(json.dumps(description))
        self._run = identity_of(self._description)
        self._figures = tuple(figures)
        self._rows = path / "rows"
        with writing(f"output: {str(path)!r}"):
            self._open(overwrite)

    def read_summary(self, rows: str) -> dict[str, Any] | None:
        """The finished run's summary; None while it is unfinished, or where another release summarised its rows.

        Args:
            rows: digest of those that it must be of.

        Raises:
            XkdError: it was changed after it was written, or is of other rows.
        """
        file = self.path / "summary.json"
        if not file.is_file():
            return None
        try:
            summary = read_record(file, Summary, SUMMARY_AGAIN)
        except OtherReleaseError:
            return None
        check_summary(summary, self._description, rows, f"output: {str(file)!r}")
        return summary

    def write_part(self, rows: pa.Table) -> None:
        """Add rows. The file appears whole or not at all."""
        with self._writing():
            (self.path / "summary.json").unlink(missing_ok=True)  # it is of all rows, or there is none
            write_part(self._rows, rows, self._run)

    def drop(self, positions: Collection[int]) -> None:
        """Take back the rows of some images, which are due again."""
        with self._writing():
            (self.path / "summary.json").unlink(missing_ok=True)
            drop_rows(self._rows, positions, self._run, self._description["data"]["n_images"])

    def read_rows(self) -> Rows:
        """All rows in the data set's order, each image once; the streams that it gives verify what they read.

        Raises:
            XkdError: while they are read: a part is not what was written.
        """
        n_images = self._description["data"]["n_images"]
        return Rows(partial(stream_parts, self._rows, self._run, n_images))

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Keep the summary, which says that the run is finished."""
        with self._writing():
            write_record(self.path / "summary.json", summary)

    def _writing(self) -> Any:
        kept = "what was written before is kept, and the same command continues"
        return writing(f"output: {str(self.path)!r}", kept=kept)

    def _open(self, overwrite: bool) -> None:
        for place, is_kind, kind in self._places():
            if place.exists() and not is_kind(place):
                raise XkdError(f"output: {str(place)!r} found, which is no {kind}; move it elsewhere")
        file = self.path / "protocol.json"
        if overwrite:
            self._clear()
        if file.is_file():
            self._check_same_run(file)
        elif not overwrite and self._holds_other_files():
            raise XkdError(
                f"output: {str(self.path)!r} holds files that are no run of this tool; choose an empty directory"
            )
        else:
            self.path.mkdir(parents=True, exist_ok=True)
            write_record(file, self._description)

    def _places(self) -> Iterator[tuple[Path, Callable[[Path], bool], str]]:
        """What lies where in a run, and of which kind it is."""
        yield from ((place, Path.is_dir, "directory") for place in (self.path, self._rows))
        yield from ((self.path / name, Path.is_file, "file") for name in ("protocol.json", "summary.json"))

    def _holds_other_files(self) -> bool:
        # What a kill leaves of the first write begins with a dot.
        return self.path.is_dir() and not all(file.name.startswith(".") for file in self.path.iterdir())

    def _clear(self) -> None:
        # The summary first and the protocol last, so that what a kill leaves is an unfinished run of the old protocol.
        # A row that cannot be removed is an error: it would be taken for one of the new run. Rows that a link leads to
        # are another run's.
        if self._rows.is_symlink():
            self._rows.unlink()
        for pattern in ("summary.json", f"rows/{PARTS}", "rows/.part-*", *self._figures, "protocol.json"):
            for file in list(self.path.glob(pattern)):
                file.unlink()

    def _check_same_run(self, file: Path) -> None:
        found = read_record(file, Description, _AGAIN)
        self._run = identity_of(found)  # of another version of this package, perhaps
        differing = [
            f"{part}.{field}"
            for part in _IDENTITY
            for field in differing_fields(_as_dict(self._description.get(part)), _as_dict(found.get(part)))
            if (part, field) != ("data", "url")
        ]
        if differing:
            raise XkdError(
                f"output: {str(self.path)!r} holds another run; these differ: {', '.join(differing)}; {_AGAIN}"
            )


class RunInMemory:
    """A run that leaves nothing behind: the same as a RunDirectory, in this process."""

    path: Path | None = None

    def __init__(self) -> None:
        self._summary: dict[str, Any] | None = None
        self._parts: list[pa.Table] = []

    def write_part(self, rows: pa.Table) -> None:
        """Keep more rows, of any images."""
        self._parts.append(rows)

    def read_rows(self) -> Rows:
        """All rows in the data set's order, those of other processes too."""
        from accelerate.utils import gather_object

        parts = gather_object(self._parts)
        return Rows.of(in_order(concatenated(parts))) if parts else Rows(None)

    def read_summary(self, rows: str) -> dict[str, Any] | None:
        """The summary; None while the run is unfinished."""
        return self._summary

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Keep the summary, which says that the run is finished."""
        self._summary = summary


def read_run(path: Path, argument: str = "models") -> tuple[dict[str, Any], dict[str, Any], Rows]:
    """A finished run: its description (protocol.json), its summary, and its rows in the data set's order.

    Args:
        path: of the directory.
        argument: that named it, for the messages.

    Raises:
        XkdError: no finished run lies there, or one that is not what was written.
    """
    what = f"{argument}: {str(path)!r}"
    files = path / "protocol.json", path / "summary.json"
    if not all(file.is_file() for file in files):
        raise XkdError(f"{what} holds no finished run; expected protocol.json, summary.json and rows/")
    description = read_record(files[0], Description, "run the test again in another directory", argument)
    summary = read_record(files[1], Summary, SUMMARY_AGAIN, argument)
    n_images, run = description["data"]["n_images"], identity_of(description)
    tally = Tally(Rows(partial(stream_parts, path / "rows", run, n_images, argument)))
    if tally.count < (expected := summary.get("stopped_after") or n_images):
        raise XkdError(
            f"{what} holds rows of {tally.count} of {expected} images; run its test again, which scores the rest"
        )
    check_summary(summary, description, tally.digest, f"{argument}: {str(files[1])!r}")
    return description, summary, tally.rows


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}
