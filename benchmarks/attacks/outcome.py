"""What came of a mutant: refused, same, noticed; or, which must not be, silent or uncaught."""

from __future__ import annotations

import hashlib
import resource
import sys
import time
import traceback
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xkd_eval.errors import XkdError

GOOD = ("refused", "same", "noticed")
BAD = ("silent", "uncaught")

LONGEST_MESSAGE = 600
LONGEST_SECONDS = 5.0
MOST_MEMORY = 3 * 2**29  # a photograph of as many pixels as PIL opens takes 1.4 GB

_PACKAGES = ("xkd_eval", "distill")


@dataclass(frozen=True)
class Found:
    """What was read.

    Attributes:
        values: name -> whatever numbers are computed from or tables show; a `Refused` where a part was refused.
        identity: name -> what a row, run or report carries of that value: a content hash, a digest, a description;
            under "" that of all others.
    """

    values: Mapping[str, Any]
    identity: Mapping[str, Any]

    def identity_of(self, name: str) -> Any:
        """What tells of another value of that name."""
        return self.identity.get(name, self.identity.get(""))


@dataclass(frozen=True)
class Refused:
    """A part that was refused while the rest was read: an image that is skipped."""

    reason: str


@dataclass(frozen=True)
class Outcome:
    """What came of one mutant.

    Attributes:
        kind: of `GOOD` or `BAD`.
        detail: of a bad one in a line.
        place: where it happened, by which failures are counted as one.
        trace: of a bad one.
    """

    kind: str
    detail: str = ""
    place: str = ""
    trace: str = ""


def judge(read: Callable[[], Found], original: Found, *, strict: bool, noise: Path | None = None) -> Outcome:
    """Read a mutant and hold it against its original.

    Args:
        read: reads the mutant.
        original: what was read before the damage.
        strict: whether the format carries a checksum, so that other values are never read, whatever else tells of it.
        noise: the file that stdout and stderr go to.
    """
    written, seconds = _size(noise), time.process_time()
    try:
        outcome = _compared(read(), original, strict)
    except XkdError as error:
        outcome = _refusal(str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        outcome = _uncaught(error)
    seconds = time.process_time() - seconds
    if outcome.kind in GOOD and seconds > LONGEST_SECONDS:
        return Outcome("uncaught", f"took {seconds:.1f} s", "seconds")
    if outcome.kind in GOOD and noise is not None and (said := _said(noise, written)):
        return Outcome("uncaught", f"printed {said!r}", f"printed {said[:40]!r}")
    return outcome


def memory() -> int:
    """The most that this process had resident, in bytes."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def digest(value: Any) -> str:
    """sha256 of nested plain values, arrays, tensors and tables; 1, 1.0 and True differ, lists and tuples do not."""
    sha = hashlib.sha256()
    _feed(sha, value)
    return sha.hexdigest()


def _feed(sha: Any, value: Any) -> None:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float().numpy() if str(value.dtype) == "torch.bfloat16" else value.numpy()
    if isinstance(value, Mapping):
        sha.update(b"{")
        for key in sorted(value, key=repr):
            _feed(sha, key)
            _feed(sha, value[key])
    elif isinstance(value, list | tuple):
        sha.update(b"[%d" % len(value))
        for item in value:
            _feed(sha, item)
    elif isinstance(value, np.ndarray):
        sha.update(f"{value.dtype}{value.shape}".encode())
        sha.update(repr(value.tolist()).encode() if value.dtype == object else np.ascontiguousarray(value).tobytes())
    else:
        sha.update(f"{type(value).__name__} {value!r}\n".encode(errors="surrogatepass"))


def _compared(found: Found, original: Found, strict: bool) -> Outcome:
    refusals = [part for part in found.values.values() if isinstance(part, Refused)]
    for part in refusals:
        if (outcome := _refusal(part.reason)).kind in BAD:
            return outcome
    differing = [
        name
        for name in {**original.values, **found.values}
        if not isinstance(found.values.get(name), Refused)
        and digest(found.values.get(name)) != digest(original.values.get(name))
    ]
    if not differing:
        return Outcome("refused" if refusals else "same")
    lies = [
        name for name in differing if strict or digest(found.identity_of(name)) == digest(original.identity_of(name))
    ]
    if not lies:
        return Outcome("noticed")
    why = "though a checksum covers it" if strict else "under the same identity"
    shown = ", ".join(f"{name} {_shown(found.values.get(name, 'gone'))}" for name in lies[:4])
    return Outcome("silent", f"read with other values {why}: {shown}", f"other {_general(lies[0])}")


def _refusal(message: str) -> Outcome:
    if len(message.splitlines()) != 1 or not message.strip():
        return Outcome("uncaught", f"a message of {len(message.splitlines())} lines: {message!r:.300}", "many lines")
    if len(message) > LONGEST_MESSAGE:
        return Outcome("uncaught", f"a message of {len(message)} characters: {message[:200]!r}", "long message")
    # What a terminal would obey, and what cannot be encoded.
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in message):
        return Outcome("uncaught", f"a message that cannot be printed: {message!r:.300}", "unprintable message")
    return Outcome("refused")


def _uncaught(error: BaseException) -> Outcome:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if any(f"/{package}/" in frame.filename for package in _PACKAGES)]
    last = (ours or frames)[-1]
    where = "/".join(Path(last.filename).parts[-3:])
    kind = type(error).__name__
    text = f"{error}".splitlines()[0][:200] if f"{error}" else ""
    trace = "".join(traceback.format_exception(error))[-6000:]
    return Outcome("uncaught", f"{kind}: {text} ({where}:{last.lineno})", f"{kind} in {where} {last.name}", trace)


def _shown(value: Any) -> str:
    return " ".join(f"{value!r:.200}".split())[:60]


def _general(name: str) -> str:
    """A value's name without the number of the image that has it."""
    return name.split("[")[0]


def _size(noise: Path | None) -> int:
    if noise is None:
        return 0
    sys.stdout.flush()
    sys.stderr.flush()
    return noise.stat().st_size


def _said(noise: Path, since: int) -> str:
    if _size(noise) == since:
        return ""
    with noise.open("rb") as file:
        file.seek(since)
        return " ".join(file.read(400).decode(errors="replace").split())[:200]
