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
        products: of float32; TF32 on NVIDIA GPUs alone.

    Raises:
        XkdError: another thread is within, with other products.
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
        self._within = 0
        self._own = threading.local()
        self._products: Products = "ieee"
        self._dtype = torch.float32
        self._benchmark = False
        self._found = _FLOAT32["ieee"]
        os.register_at_fork(
            before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._lock.release
        )

    def enter(self, products: Products) -> None:
        with self._lock:
            own = self._calls()
            if products != self._products and self._within > len(own):
                raise XkdError(
                    f"precision: float32 is computed in {self._products} by another thread, and in {products} by this "
                    "one, and a process has one of them; evaluate or train one after the other, or in one precision"
                )
            if self._within == 0:
                self._note()
                self._compute_in(products)
            if (dtype := torch.get_default_dtype()) != torch.float32:
                self._dtype = dtype
                torch.set_default_dtype(torch.float32)
            if products != self._products:
                self._compute_in(products)
            own.append(products)
            self._within += 1

    def leave(self) -> None:
        with self._lock:
            own = self._calls()
            own.pop()
            self._within -= 1
            if self._within == 0:
                self._restore()
            elif own and own[-1] != self._products:
                self._compute_in(own[-1])

    def _calls(self) -> list[Products]:
        """What the calls of this thread want, the innermost last."""
        if not hasattr(self._own, "calls"):
            self._own.calls = []
        found: list[Products] = self._own.calls
        return found

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
        return cls(convolutions, torch.get_float32_matmul_precision(), words)

    def set(self) -> None:
        torch.backends.cudnn.allow_tf32 = self.convolutions
        torch.set_float32_matmul_precision(self.matrices)
        for operation, word in zip((*_NVIDIA, *_CPU), self.words, strict=True):
            operation.fp32_precision = word


_FLOAT32: dict[Products, _Float32] = {
    "ieee": _Float32(False, "highest", ("ieee",) * 6),
    "tf32": _Float32(True, "high", ("tf32",) * 3 + ("ieee",) * 3),
}
_PROCESS = _Process()
