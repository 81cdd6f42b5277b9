"""file:// URLs: paths of this machine, which are read where they lie."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from xkd_eval.datasets.remote.urls import expanded, scheme_of
from xkd_eval.errors import XkdError


def local_paths(url: str) -> list[Path] | None:
    """The paths that a file:// URL names, by braces or a pattern several; None for other URLs.

    Raises:
        XkdError: one of them does not exist, or the URL names another machine.
    """
    if scheme_of(url) not in ("file", "local"):
        return None
    found = [path for one in expanded(url) for path in _paths(one)]
    if len(found) > 1 and (folder := next(filter(Path.is_dir, found), None)):
        raise XkdError(f"data: {url!r} names several, and {str(folder)!r} is a folder; name files, or one folder")
    return found


def _paths(url: str) -> list[Path]:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise XkdError(f"data: {url!r} names the host {parts.netloc!r}; expected file:///path, with three strokes")
    # Only the start is parsed: ? and # may stand in a file's name.
    name = url2pathname(url.partition("://")[2].removeprefix(parts.netloc))
    path = Path(name)
    if path.exists():
        return [path]
    found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor)))) if path.anchor else []
    if not found:
        raise XkdError(f"data: {url!r} does not exist ({name!r}); give a folder or a file")
    return found
