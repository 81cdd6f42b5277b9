"""What engines say of a graph that they refuse, without where in their own sources they say it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

_ONNX_RUNTIME = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : "
    r"|Load model from .*? failed:"
    r"|This is an invalid model\. "
    r"|In Node, .* , Error "
    r"|/onnxruntime_src/\S+ .*?\)(?: const)? (?=[A-Z])",
)


@contextmanager
def in_plain_words() -> Iterator[None]:
    """Raise what an engine raises with the part of its message that speaks of the graph, for within `reading`."""
    try:
        yield
    except Exception as error:
        raise ValueError(plain_words(str(error)) or type(error).__name__) from error


def plain_words(message: str) -> str:
    """The part of an engine's message that speaks of the graph, in one line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if lines and lines[0].startswith("Exception from"):  # OpenVINO: where, then what
        return lines[-1]
    return _ONNX_RUNTIME.sub("", " ".join(lines)).strip()


@contextmanager
def without_remarks(package: str) -> Iterator[None]:
    """Without what a package writes to the root logger: advice that is followed already, or that nobody can follow."""

    def is_others(record: logging.LogRecord) -> bool:
        return package not in record.pathname

    root = logging.getLogger()
    root.addFilter(is_others)
    try:
        yield
    finally:
        root.removeFilter(is_others)
