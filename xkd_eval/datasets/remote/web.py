"""Files behind http and https."""

from __future__ import annotations

import base64
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import NoReturn
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from xkd_eval import __version__
from xkd_eval.datasets.remote.origin import BLOCK, Listing, Origin, RemoteFile, UnreachableError
from xkd_eval.datasets.remote.urls import place_in, shown
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reason

_SECONDS = 30.0  # without a byte
_LATER = (408, 425, 429)  # and from 500 on: the server may answer otherwise the next time
_NOT_ALLOWED = (401, 402, 403, 407)
_NOT_THERE = (404, 410)
_EMPTY = 416
_PLAIN = "/%:@!$&'()*+,;=~"  # what a path may hold as it is
_PARTIAL = 206
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_PAGE = re.compile(rb"\s*<(!doctype\s+html|html)[\s>]", re.IGNORECASE)


class Web(Origin):
    """A server that gives one file at a time, and lists nothing."""

    def listing(self, url: str) -> Listing:
        """See Origin. Asked by a range of one byte: addresses that are signed for GET are refused to HEAD."""
        if "*" in urlsplit(url).path:
            raise XkdError(f"data: {shown(url)!r} has a *, and http lists no files; write a range as {{000..099}}")
        with _answer(url, {"Range": "bytes=0-0"}) as answer:
            _check_no_page(url, answer)
            file = RemoteFile(place_in(url)[-1], url, _size(answer), _tag(answer))
        if file.size == 0:
            raise XkdError(f"data: {shown(url)!r} is empty; expected an archive, shards or Parquet")
        return Listing((file,), is_folder=False)

    @contextmanager
    def read(self, file: RemoteFile, start: int) -> Iterator[tuple[int, Iterator[bytes]]]:
        """See Origin."""
        with _answer(file.address, {"Range": f"bytes={start}-"} if start else {}) as answer:
            if (_size(answer), _tag(answer)) != (file.size, file.tag):
                raise UnreachableError("it changed while it was fetched")
            found = _RANGE.match(answer.headers.get("Content-Range", "")) if answer.status == _PARTIAL else None
            if found and int(found[1]) > start:
                raise UnreachableError("the server sends another part than was asked for")
            yield (int(found[1]) if found else 0), _blocks(file, answer, page_is_error=not found)


@contextmanager
def _answer(url: str, headers: Mapping[str, str]) -> Iterator[HTTPResponse]:
    """The server's answer to a question that it can be asked, redirections followed."""
    try:
        with urllib.request.urlopen(_request(url, headers), timeout=_SECONDS) as answer:
            yield answer
    except XkdError:
        raise
    except urllib.error.HTTPError as error:
        _refuse(url, error)
    except urllib.error.URLError as error:
        raise UnreachableError(reason(error.reason) if isinstance(error.reason, Exception) else reason(error)) from None
    except (OSError, HTTPException) as error:
        raise UnreachableError(reason(error)) from None
    except ValueError as error:  # no host, a port that is no number
        raise XkdError(f"data: {shown(url)!r} is no address ({reason(error)}); expected https://host/path") from None


def _request(url: str, headers: Mapping[str, str]) -> urllib.request.Request:
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    plain = urlunsplit((parts.scheme, host, quote(parts.path, safe=_PLAIN), quote(parts.query, safe=f"{_PLAIN}?"), ""))
    # Bytes as they lie there: what is packed on the way has another size.
    agent = {"User-Agent": f"xkd-eval/{__version__}", "Accept-Encoding": "identity"}
    request = urllib.request.Request(plain, headers={**agent, **headers})
    if user:  # for that host alone, and none that it redirects to
        request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(unquote(user).encode()).decode()}")
    return request


def _refuse(url: str, error: urllib.error.HTTPError) -> NoReturn:
    with error:
        said = f"{error.code} {error.reason}".strip()
    what = f"data: {shown(url)!r}"
    if error.code in _LATER or error.code >= 500:
        raise UnreachableError(f"the server answers {said}") from None
    if error.code in _NOT_THERE:
        raise XkdError(f"{what} is not there (the server answers {said}); check the address") from None
    if error.code in _NOT_ALLOWED:
        raise XkdError(
            f"{what} is not given to you (the server answers {said}); ask for access, or write it as "
            "https://USER:PASSWORD@host/path"
        ) from None
    if error.code == _EMPTY:
        raise XkdError(f"{what} is empty, or changed while it was fetched ({said}); check it, and try again") from None
    raise XkdError(f"{what} is not given (the server answers {said}); check the address") from None


def _check_no_page(url: str, answer: HTTPResponse) -> None:
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise _page(url)


def _page(url: str) -> XkdError:
    return XkdError(
        f"data: {shown(url)!r} gives a web page (HTML) and no data; give the address of the file itself, as behind a "
        "download button: http lists no folders, and some servers show a page where they want a login"
    )


def _size(answer: HTTPResponse) -> int | None:
    """Of the whole file in bytes."""
    if answer.status == _PARTIAL:
        found = _RANGE.match(answer.headers.get("Content-Range", ""))
        return int(found[2]) if found and found[2].isdecimal() else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _tag(answer: HTTPResponse) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def _blocks(file: RemoteFile, answer: HTTPResponse, *, page_is_error: bool) -> Iterator[bytes]:
    first = page_is_error
    while block := answer.read(BLOCK):
        if first and _PAGE.match(block[:256]):
            raise _page(file.address)
        first = False
        yield block
