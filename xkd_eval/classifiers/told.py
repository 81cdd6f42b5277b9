"""What a user is told of a model that is loaded: what it is fed with, and what must be known of how it was read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from xkd_eval.classifiers.input_source import InputSource, input_line
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.wording import listed

LOG = logging.getLogger("xkd_eval.models")
"""Has a line for each model that is loaded to be evaluated; a warning where its input is assumed, and for each note."""

_IS_PART: ContextVar[bool] = ContextVar("is_part", default=False)


@dataclass(frozen=True)
class ToldInput:
    """What is told of the input of a model that is loaded.

    Attributes:
        name: what it is called there.
        model: as it was written; None for a module.
        weights: the file that was named beside it.
        preprocess: under which it is evaluated.
        source: of that.
    """

    name: str
    model: str | None
    weights: str | None
    preprocess: Preprocess
    source: InputSource

    @property
    def line(self) -> str:
        """Its input, whoever says it."""
        return f"{self.name}: input: {input_line(self.preprocess, self.source)}"

    def warning(self, options: str) -> str:
        """The same where some of it is assumed; `options` are the words by which the user says it."""
        missing = listed(self.source.assumed)
        are = "is" if len(self.source.assumed) == 1 else "are"
        return f"{self.line}; {missing} {are} assumed, as nothing says what its weights were trained with: {options}"

    def in_words(self) -> str:
        """The model as it would be written with what is assumed: "timm/resnet18,size=...,mean=...,std=..."."""
        return ",".join([self.model or self.name, *(f"{field}=..." for field in self.source.assumed)])

    def tell(self) -> None:
        """Log it, unless the model is a part of another, of which it is told."""
        if _IS_PART.get():
            return
        told = {"told": self}
        if self.source.assumed:
            LOG.warning("%s", self.warning(f"give {listed(self.source.assumed)}"), extra=told)
        else:
            LOG.info("%s", self.line, extra=told)


def tell_note(note: str) -> None:
    """Log what a user must know of a model, and that is no error: "resnet8 (w): weights: 1 key ... was left out"."""
    LOG.warning("%s", note)


@contextmanager
def parts_untold() -> Iterator[None]:
    """Within, nothing is told of inputs: whoever asked for the whole tells it, and may say what a part assumed."""
    former = _IS_PART.set(True)
    try:
        yield
    finally:
        _IS_PART.reset(former)
