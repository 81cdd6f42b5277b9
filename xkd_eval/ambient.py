"""What a caller may have set for torch, and what nothing that is computed here may depend on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch

from xkd_eval.errors import XkdError

Products = Literal["ieee", "tf32"]
"""What float32 products are made of: float32 as it is, or on an NVIDIA GPU TF32, with 10 bits of mantissa."""

_BACKENDS: Any = torch.backends
_NVIDIA = (_BACKENDS.cudnn.conv, _BACKENDS.cudnn.rnn, _BACKENDS.cuda.matmul)
_CPU = (_BACKENDS.mkldnn.conv, _BACKENDS.mkldnn.rnn, _BACKENDS.mkldnn.matmul)


@contextmanager
def plain_torch(products: Products = "ieee") -> Iterator[None]:
    """Within it nothing of torch is as a caller has set it: no autocast, float32 and the CPU where nothing else is
    said, products of float32 in float32, and convolutions by rule and not by trial.

    By itself torch makes the products of an NVIDIA GPU's convolutions in TF32.

    The caller's settings come back, also after an error. Autocast and the device belong to the thread, the others to
    the process: while calls of any thread are within, they are set for all.

    Args:
        products: of float32; TF32 on NVIDIA GPUs alone. A call within another one may want others; of threads, one
            that wants TF32, in any of its calls, has to be the only one.

    Raises:
        XkdError: this call or another thread's wants TF32, and it is not the only thread.
    """
    with ExitStack() as stack:
        for kind in ("cpu", "cuda", "mps", "xpu"):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        _PROCESS.enter(products)
        stack.callback(_PROCESS.leave)
        yield


class _Process:
    """What torch has for the whole process; the last one who leaves restores what was found."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: dict[int, list[Products]] = {}  # of each thread what its calls want, the innermost last
        self._products: Products = "ieee"
        self._dtype = torch.float32
        self._benchmark = False
        self._found = _FLOAT32["ieee"]
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._alone_in_child
        )

    def enter(self, products: Products) -> None:
        with self._lock:
            thread = threading.get_ident()
            wanted = [found for other, calls in self._calls.items() if other != thread for found in calls]
            if "tf32" in wanted or (wanted and products == "tf32"):
                raise XkdError(
                    "precision: tf32 is one setting for all threads of a process, and another thread computes, too; "
                    "evaluate or train one after the other, or in fp32 or bf16"
                )
            if not self._calls:
                self._note()
                self._compute_in(products)
            if (dtype := torch.get_default_dtype()) != torch.float32:
                self._dtype = dtype
                torch.set_default_dtype(torch.float32)
            if products != self._products:
                self._compute_in(products)
            self._calls.setdefault(thread, []).append(products)

    def leave(self) -> None:
        with self._lock:
            thread = threading.get_ident()
            own = self._calls[thread]
            own.pop()
            if not own:
                del self._calls[thread]
            if not self._calls:
                self._restore()
            elif own and own[-1] != self._products:
                self._compute_in(own[-1])

    def _alone_in_child(self) -> None:
        """Of the threads a forked process has the one that forked."""
        thread = threading.get_ident()
        self._calls = {thread: self._calls[thread]} if thread in self._calls else {}
        self._lock.release()

    def _note(self) -> None:
        self._found = _Float32.as_set()
        self._benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False

    def _compute_in(self, products: Products) -> None:
        self._products = products
        _FLOAT32[products].set()

    def _restore(self) -> None:
        self._found.set()
        torch.backends.cudnn.benchmark = self._benchmark
        if self._dtype != torch.float32:
            torch.set_default_dtype(self._dtype)
            self._dtype = torch.float32


@dataclass(frozen=True)
class _Float32:
    """How torch is told what float32 products are made of, by flags and by words. It refuses to read flags that the
    words contradict, so both are set.

    Attributes:
        convolutions: cuDNN's flag.
        matrices: "highest", "high" or "medium", of all devices.
        words: of each of `_NVIDIA` and `_CPU`.
    """

    convolutions: bool
    matrices: str
    words: tuple[str, ...]

    @classmethod
    def as_set(cls) -> _Float32:
        words = tuple(operation.fp32_precision for operation in (*_NVIDIA, *_CPU))
        try:
            convolutions = torch.backends.cudnn.allow_tf32
        except RuntimeError:  # the words contradict it, and decide
            convolutions = words[0] == "tf32"
        try:
            matrices = torch.get_float32_matmul_precision()
        except RuntimeError:  # it is the opposite of what the words say
            matrices = "highest" if {"tf32", "bf16"} & {words[2], words[5]} else "high"
        return cls(convolutions, matrices, words)

    def set(self) -> None:
        torch.backends.cudnn.allow_tf32 = self.convolutions
        torch.set_float32_matmul_precision(self.matrices)
        for operation, word in zip((*_NVIDIA, *_CPU), self.words, strict=True):
            operation.fp32_precision = "none"  # which is what a setting for several operations reaches
            if operation.fp32_precision != word:
                operation.fp32_precision = word


_FLOAT32: dict[Products, _Float32] = {
    "ieee": _Float32(False, "highest", ("ieee",) * 6),
    "tf32": _Float32(True, "high", ("tf32",) * 3 + ("ieee",) * 3),
}
_PROCESS = _Process()
