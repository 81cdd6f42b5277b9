"""What is kept of a URL on this machine: its last listing, its files, and a tree in which they are called as there.

    CACHE/NAME-DIGEST/            of one URL
      listing.json                what it named when it was asked last
      files/DIGEST                a whole file, of one path, size and tag; DIGEST.part while it is fetched
      trees/DIGEST/HOST/PATH...   of one listing: links to files that are there, or will be

So a file that changed there is another one here, and whoever reads the former one is not disturbed.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path

from xkd_eval.datasets.remote.origin import Listing, RemoteFile, UnreachableError
from xkd_eval.datasets.remote.urls import place_in, shown
from xkd_eval.digests import digest_of
from xkd_eval.errors import XkdError
from xkd_eval.files import locked, replacing, writing
from xkd_eval.foreign import parsed, read_json

LOG = logging.getLogger("xkd_eval.data")
"""Warns where a URL is not reached and what is kept of it is used, or another process fetches it; of a download it has
a line with `fetched`, (what, bytes done, bytes in all), ten times a second."""

CACHE_VARIABLE = "XKD_CACHE"
_SECONDS_BETWEEN_TRIES = 0.1
_DIGITS = 16


def cache_folder() -> Path:
    """Where data are kept: `data` in $XKD_CACHE, else in xkd-eval in the user's folder of caches."""
    own = os.environ.get(CACHE_VARIABLE)
    if own:
        return Path(own).absolute() / "data"
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache").absolute() / "xkd-eval" / "data"


class Kept:
    """One URL's part of the cache.

    Args:
        url: that is written; of its name nothing but letters goes into the folder's.
    """

    def __init__(self, url: str) -> None:
        self._shown = shown(url)
        self._place = place_in(url)
        plain = "".join(sign if sign.isascii() and sign.isalnum() else "_" for sign in self._place[-1])
        self.folder = cache_folder() / f"{plain[:60]}-{digest_of(url)[:_DIGITS]}"

    def listing(self) -> Listing | None:
        """What the URL named when it was asked last; None where it never was, or where that was damaged."""
        with suppress(XkdError):
            return parsed(Listing, read_json(self.folder / "listing.json", "data"), "data")
        return None

    def asked(self) -> str:
        """When it was asked last."""
        return f"{datetime.fromtimestamp((self.folder / 'listing.json').stat().st_mtime):%Y-%m-%d %H:%M}"

    def remember(self, listing: Listing) -> None:
        """Keep what it names now.

        Raises:
            XkdError: the cache cannot be written.
        """
        with self.writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.folder / "listing.json") as file:
                # By the address, which may hold a password, nothing is fetched that is not asked for anew.
                known = replace(listing, files=tuple(replace(one, address="") for one in listing.files))
                file.write(json.dumps(asdict(known)).encode())

    def file(self, remote: RemoteFile) -> Path:
        """Where a file lies once it is whole."""
        return self.folder / "files" / digest_of([remote.path, remote.size, remote.tag])[:_DIGITS]

    def tree(self, listing: Listing) -> Path:
        """The folder with the files under the names that they have there, fetched or not; made where it is not there.

        A folder's ends in the folder's own name, so that a data set in it is called as it would be there.

        Raises:
            XkdError: the cache cannot be written.
        """
        digest = digest_of([[file.path, file.size, file.tag] for file in listing.files])[:_DIGITS]
        made = self.folder / "trees" / digest
        root = made.joinpath(*(self._place if listing.is_folder else self._place[:-1]))
        if made.is_dir():
            return root
        with self.writing():
            made.parent.mkdir(parents=True, exist_ok=True)
            temporary = made.with_name(f".{digest}.{secrets.token_hex(4)}")
            try:
                for file in listing.files:
                    link = temporary / root.relative_to(made) / file.path
                    link.parent.mkdir(parents=True, exist_ok=True)
                    link.symlink_to(os.path.relpath(self.file(file), made / link.parent.relative_to(temporary)))
                with suppress(FileExistsError):  # another process was faster; or, of a full folder, an OSError
                    _rename(temporary, made)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        return root

    @contextmanager
    def held(self, stop: threading.Event) -> Iterator[None]:
        """Wait until no other process or thread fetches the same, and let none do so within.

        Args:
            stop: ends the waiting.

        Raises:
            UnreachableError: `stop` was set.
            XkdError: the cache cannot be written.
        """
        with ExitStack() as stack:
            with self.writing():
                is_said = False
                while not stop.is_set():
                    with suppress(XkdError):  # held by another
                        stack.enter_context(locked(self.folder, "data"))
                        break
                    if not is_said:
                        LOG.warning("data: another process fetches '%s'; this one waits for it", self._shown)
                    is_said = True
                    stop.wait(_SECONDS_BETWEEN_TRIES)
                else:
                    raise UnreachableError("stopped")
            yield

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn a failure to write here within into one line; see `files.writing`."""
        with writing(f"data: the cache {str(cache_folder())!r} (${CACHE_VARIABLE})"):
            yield


def _rename(temporary: Path, made: Path) -> None:
    try:
        temporary.rename(made)
    except OSError:
        if not made.is_dir():
            raise
