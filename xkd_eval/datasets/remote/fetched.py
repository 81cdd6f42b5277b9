"""A URL as files on this disk: asked what it names, fetched where it is not kept, and told where it is not reached."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from xkd_eval.datasets.folder import is_image_name, is_whole_set
from xkd_eval.datasets.remote.cache import LOG, Kept
from xkd_eval.datasets.remote.download import PAUSES, download
from xkd_eval.datasets.remote.origin import Listing, Origin, RemoteFile, UnreachableError, origin_of
from xkd_eval.datasets.remote.urls import expanded, shown
from xkd_eval.errors import XkdError
from xkd_eval.foreign import LARGEST_LIST
from xkd_eval.wording import counted

_AT_ONCE = 8
_SECONDS_BETWEEN_LINES = 0.1
_SHARDS = (".parquet", ".tar", ".tar.gz", ".tgz")


class Fetched:
    """What a URL names, as files of the cache.

    Args:
        url: one, or several by braces. Each is asked what it names now; files are fetched, of a folder those beside its
            images alone.

    Attributes:
        shown: the URL as it may be told and recorded.
        folder: of the tree that a URL of a folder names; else None.
        files: those that are named without one, in order.

    Raises:
        XkdError: no such file, no answer and nothing kept, not allowed, a web page, a package that is missing.
    """

    def __init__(self, url: str) -> None:
        self.shown = shown(url)
        down: dict[str, str] = {}
        urls = expanded(url)
        first = _asked(urls[0], down)  # before the others, which a host that is down need not be asked for
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._asked = [first, *pool.map(partial(_asked, down=down), urls[1:])]
        if down:
            LOG.warning(
                "data: '%s' cannot be reached (%s); what is kept of it here is used, as it was on %s",
                *(self.shown, next(iter(down.values())), min(one.kept.asked() for one in self._asked)),
            )
        folders = [one for one in self._asked if one.listing.is_folder]
        if folders and len(self._asked) > 1:
            raise XkdError(f"data: {folders[0].shown!r} is one of several and a folder; name files, or one folder")
        self.folder: Path | None = None
        self.files: list[Path] = []
        if folders:
            self.folder = folders[0].root
            self._fetch([(folders[0], list(filter(_is_beside, folders[0].listing.files)))])
        else:
            self._fetch([(one, one.listing.files) for one in self._asked])
            self.files = [one.root / file.path for one in self._asked for file in one.listing.files]

    def need(self, paths: Sequence[Path]) -> None:
        """Fetch what a reader is about to open.

        Args:
            paths: in the tree; of a folder everything below it.

        Raises:
            XkdError: it cannot be fetched whole.
        """
        for one in self._asked if self.folder is not None else ():
            below = [path.relative_to(one.root) for path in paths]
            wanted = [file for file in one.listing.files if any(map(Path(file.path).is_relative_to, below))]
            self._fetch([(one, wanted)])

    def in_words(self, message: str) -> str:
        """A reader's message, with what was given for a place in the cache."""
        for one in self._asked:
            for file in () if one.listing.is_folder else one.listing.files:
                message = message.replace(str(one.root / file.path), one.shown_of(file))
            message = message.replace(str(one.root), one.shown.rstrip("/"))
        return message

    def _fetch(self, wanted: Iterable[tuple[_Asked, Sequence[RemoteFile]]]) -> None:
        """Bring what is not there yet, several files at once."""
        missing = [(one, lacking) for one, files in wanted if (lacking := one.lacking(files))]
        for one, files in missing:
            if one.why:
                raise XkdError(
                    f"data: {one.shown!r} cannot be reached ({one.why}), and {counted(len(files), 'file')} of it "
                    "are not kept here; check the connection, and try again"
                )
        if not missing:
            return
        progress = _Progress(self.shown, sum(file.size or 0 for _, files in missing for file in files))
        stop = threading.Event()
        if len(missing) > 1:
            _all([partial(_fetch_held, one, files, progress, stop) for one, files in missing], stop)
            return
        one, files = missing[0]
        with one.kept.held(stop):
            _all([partial(_fetch_one, one, file, progress, stop) for file in one.lacking(files)], stop)


@dataclass(frozen=True)
class _Asked:
    """What is known of one URL; `why` says why it was not reached, where it was not."""

    url: str
    origin: Origin
    kept: Kept
    listing: Listing
    root: Path
    why: str

    @property
    def shown(self) -> str:
        return shown(self.url)

    def shown_of(self, file: RemoteFile) -> str:
        named = self.listing.is_folder or len(self.listing.files) > 1
        return f"{self.shown.rstrip('/')}/{file.path}" if named else self.shown

    def lacking(self, files: Iterable[RemoteFile]) -> list[RemoteFile]:
        """Those that are not there whole."""
        places = ((file, self.kept.file(file)) for file in files)
        return [file for file, place in places if not place.is_file() or file.size not in (None, place.stat().st_size)]


def _asked(url: str, down: dict[str, str]) -> _Asked:
    """Ask what a URL names now; where nobody answers, what it named when it was asked last.

    Args:
        url: one.
        down: host -> why it is not reached; such a one is not asked again.
    """
    host, origin, kept = urlsplit(url).netloc, origin_of(url), Kept(url)
    known = kept.listing()
    why = down.get(host, "") if known is not None else ""
    if not why:
        try:
            found = _answered(origin, url, tries=1 if known is not None else 1 + len(PAUSES))
            kept.remember(found)
            return _Asked(url, origin, kept, found, kept.tree(found), "")
        except UnreachableError as error:
            why = str(error)
    if known is None:
        raise XkdError(f"data: {shown(url)!r} cannot be reached ({why}); check the address and the connection")
    down[host] = why
    return _Asked(url, origin, kept, known, kept.tree(known), why)


def _answered(origin: Origin, url: str, tries: int) -> Listing:
    for pause in PAUSES[: tries - 1]:
        try:
            return origin.listing(url)
        except UnreachableError:
            time.sleep(pause)
    return origin.listing(url)


def _is_beside(file: RemoteFile) -> bool:
    """Whether a file may tell what images beside it are, as a list of labels does, or is a set itself: all come."""
    if is_whole_set(file.path.rpartition("/")[2]):
        return True
    name = file.path.rpartition("/")[2].lower()
    is_small = file.size is not None and file.size <= LARGEST_LIST
    return is_small and not (is_image_name(name) or name.endswith(_SHARDS) or name.startswith("."))


def _fetch_held(one: _Asked, files: Sequence[RemoteFile], progress: _Progress, stop: threading.Event) -> None:
    with one.kept.held(stop):
        for file in one.lacking(files):
            _fetch_one(one, file, progress, stop)


def _fetch_one(one: _Asked, file: RemoteFile, progress: _Progress, stop: threading.Event) -> None:
    try:
        download(one.origin, file, one.kept, progress.came, stop)
    except UnreachableError as error:
        raise XkdError(
            f"data: {one.shown_of(file)!r} cannot be fetched ({error}); what came of it is kept: check the connection, "
            "and try again"
        ) from None


def _all(tasks: Sequence[Callable[[], None]], stop: threading.Event) -> None:
    """Run tasks at once; the first error, or Ctrl-C, stops the others."""
    pool = ThreadPoolExecutor(_AT_ONCE)
    futures = [pool.submit(task) for task in tasks]
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        failed = [error for future in done if (error := future.exception()) is not None]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
    if failed:
        raise failed[0]


class _Progress:
    """Tells how many bytes came, by whichever thread."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._done = what, total, 0
        self._told = 0.0
        self._lock = threading.Lock()

    def came(self, count: int) -> None:
        """So many bytes more."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._told < _SECONDS_BETWEEN_LINES and self._done < self._total:
                return
            self._told = now
            fetched = (self._what, self._done, self._total)
        LOG.info("%s: %s of %s bytes fetched", *fetched, extra={"fetched": fetched})
