"""Files behind the URLs that fsspec knows: s3://, gs://, hf://, memory:// and others."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from xkd_eval.datasets.remote.origin import BLOCK, Listing, Origin, RemoteFile, UnreachableError
from xkd_eval.datasets.remote.urls import scheme_of, shown
from xkd_eval.errors import XkdError
from xkd_eval.foreign import is_writable_name, reason, short
from xkd_eval.packages import require

_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_GLOB = set("*?[")
# By whatever name a filesystem says that a file is another one than before.
_TAGS = (
    *("ETag", "etag", "checksum", "md5Hash", "content_md5", "crc32c", "generation", "VersionId", "blob_id", "sha256"),
    *("LastModified", "last_modified", "updated", "mtime", "modified", "created"),
)
_NOT_ALLOWED = (401, 403)


class Filesystem(Origin):
    """One of fsspec's.

    Its own caches (filecache, simplecache) do not serve here: what a broken download left is taken for the file there,
    and two processes write to one place.

    Args:
        url: of the scheme.

    Raises:
        XkdError: nobody knows the scheme, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec
        from fsspec.core import url_to_fs

        scheme, what = scheme_of(url), f"data: {shown(url)!r}"
        if scheme in _PACKAGES:
            require(what, "remote", _PACKAGES[scheme])
        if scheme not in fsspec.available_protocols():
            raise XkdError(
                f"{what} has the scheme {short(scheme)}, which nobody here knows; expected a path, or file, http, "
                "https, s3, gs, hf or another one that fsspec knows"
            )
        try:
            self._system: Any = url_to_fs(url)[0]
        except ImportError as error:
            raise XkdError(f"{what} needs another package ({reason(error)}); install it") from None
        except Exception as error:  # a library's own, as of no credentials
            raise XkdError(f"{what} cannot be opened ({reason(error)}); check the address") from None

    def listing(self, url: str) -> Listing:
        """See Origin."""
        if scheme_of(url) == "hf":
            _check_hub()
        with _asking(url):
            self._system.invalidate_cache()  # of what it was asked earlier in this process
            path = self._system._strip_protocol(url)
            if _GLOB & set(path):
                found = self._system.glob(path, detail=True)
                files = [_remote(PurePosixPath(place).name, place, info) for place, info in _files(found)]
                _check_names(url, files)
                is_folder = False
            elif (about := self._system.info(path))["type"] == "directory":
                found = self._system.find(path, detail=True)
                # The folder as the filesystem calls it: the hub writes a revision otherwise than users do.
                files = [_remote(_below(about["name"], place), place, info) for place, info in _files(found)]
                is_folder = True
            else:
                files, is_folder = [_remote(PurePosixPath(path).name, path, about)], False
        if not files:
            raise XkdError(f"data: {shown(url)!r} has no files; check the address")
        return Listing(tuple(sorted(files, key=lambda file: file.path)), is_folder)

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """See Origin."""
        with _asking(file.address), self._system.open(file.address, "rb") as opened:
            if start:
                opened.seek(start)
            yield start, iter(lambda: opened.read(BLOCK), b"")


def _check_hub() -> None:
    """Its library tries for minutes to reach a hub that does not answer."""
    from xkd_eval.classifiers.hub.reach import why_unreachable

    if why := why_unreachable():
        raise UnreachableError(why)


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Turn whatever a filesystem raises into what an Origin does."""
    what = f"data: {shown(url)!r}"
    try:
        yield
    except (XkdError, UnreachableError):
        raise
    except FileNotFoundError:
        raise XkdError(f"{what} is not there; check the address") from None
    except Exception as error:  # each filesystem raises its own library's kinds
        code = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, PermissionError) or code in _NOT_ALLOWED or "Credential" in type(error).__name__:
            raise XkdError(
                f"{what} is not given to you ({reason(error)}); log in as its own tool does it, or ask for access"
            ) from None
        raise UnreachableError(reason(error)) from None


def _files(found: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((place, info) for place, info in found.items() if info["type"] != "directory")


def _check_names(url: str, files: Sequence[RemoteFile]) -> None:
    """What a pattern finds lies in one folder here."""
    counts = Counter(file.path for file in files)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise XkdError(
            f"data: {shown(url)!r} finds several files called {short(min(twice))}; give a folder, or a pattern whose "
            "files have names of their own"
        )


def _below(folder: str, place: str) -> str:
    """A path relative to a folder, which a server may have called as it likes: it must not lead out of the cache."""
    path = PurePosixPath(place).relative_to(PurePosixPath(folder))
    if not all(map(is_writable_name, path.parts)):
        raise XkdError(f"data: a file is called {short(place)} there, which cannot be the name of a file here")
    return path.as_posix()


def _remote(path: str, address: str, info: Mapping[str, Any]) -> RemoteFile:
    said = {key: str(info[key]) for key in _TAGS if info.get(key) is not None}
    size = info.get("size")
    return RemoteFile(path, address, size if isinstance(size, int) else None, json.dumps(said, sort_keys=True))
