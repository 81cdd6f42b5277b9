"""What is asked of wherever a URL leads to: which files are there, and their bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from xkd_eval.datasets.remote.urls import scheme_of

BLOCK = 2**20
"""Bytes that are read at a time."""


class UnreachableError(Exception):
    """It does not answer, or stops in the middle: it may do better later. The message is the reason alone."""


@dataclass(frozen=True)
class RemoteFile:
    """A file behind a URL, as it is now.

    Attributes:
        path: its name, or its path below the folder that the URL names; parts are joined by "/".
        address: by which its origin opens it.
        size: in bytes; None where the origin does not say.
        tag: whatever else the origin says by which a changed file is told: an ETag, a date, a checksum.
    """

    path: str
    address: str
    size: int | None
    tag: str


@dataclass(frozen=True)
class Listing:
    """What a URL names.

    Attributes:
        files: sorted by path.
        is_folder: whether they are what a folder holds; else it is one file, or those that fit a pattern.
    """

    files: tuple[RemoteFile, ...]
    is_folder: bool


class Origin(ABC):
    """A kind of server."""

    @abstractmethod
    def listing(self, url: str) -> Listing:
        """The files that a URL names, with nothing fetched.

        Raises:
            UnreachableError: no answer.
            XkdError: nothing there, not allowed, no data; one line that begins with `data` and the URL.
        """

    @abstractmethod
    def read(self, file: RemoteFile, start: int) -> AbstractContextManager[tuple[int, Iterator[bytes]]]:
        """A file's bytes, from `start` on where the origin can, else from 0.

        Returns:
            Where they begin, and the bytes in blocks.

        Raises:
            UnreachableError: no answer, or the file is another one by now; within too, where it ends too early.
            XkdError: as `listing`.
        """


def origin_of(url: str) -> Origin:
    """Who answers for a URL.

    The web is asked by Python's own library: fsspec's takes aiohttp, and does not say whether a range was granted.

    Raises:
        XkdError: an unknown scheme, or one whose package is not installed.
    """
    if scheme_of(url) in ("http", "https"):
        from xkd_eval.datasets.remote.web import Web

        return Web()
    from xkd_eval.datasets.remote.filesystem import Filesystem

    return Filesystem(url)
