"""How fast a classifier answers on this machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import torch

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.devices import resolve_device
from xkd_eval.engines.chunks import chunk_size, within_memory
from xkd_eval.engines.eager import prepare
from xkd_eval.wording import counted

_SECONDS = 1.0
_WARM_UP, _LEAST_REPEATS = 3, 5


@dataclass(frozen=True)
class Latency:
    """Medians over repeated forwards after a warm-up, of float32 images that are on the device already.

    Attributes:
        milliseconds: of one image alone.
        images_per_second: of batches of `batch_size`.
        batch_size: 8 on a CPU, 64 on an accelerator.
        device: "cpu", or the accelerator's name.
        threads: of torch on the CPU.
        dtype: "float32".
    """

    milliseconds: float
    images_per_second: float
    batch_size: int
    device: str
    threads: int
    dtype: str = "float32"

    def __str__(self) -> str:
        threads = f"{counted(self.threads, 'thread')}, " if self.device == "cpu" else ""
        return (
            f"{self.device}, {threads}{self.dtype}, batch norms folded into convolutions; medians of single images "
            f"and of batches of {self.batch_size}"
        )


def latency_of(classifier: Classifier, device: str = "auto", seconds: float = _SECONDS) -> Latency:
    """Time a classifier as `xkd_eval.engines.eager.prepare` makes it: what the scores are measured with.

    Args:
        classifier: left as it is.
        device: where it is timed.
        seconds: at least so long for either batch size.
    """
    where = resolve_device(device)
    prepared, preprocess = prepare(classifier, where), classifier.preprocess
    chunk = within_memory(chunk_size(classifier, preprocess, where), classifier, preprocess, where)
    return Latency(
        milliseconds=1000 * _median(prepared, 1, where, seconds),
        images_per_second=chunk / _median(prepared, chunk, where, seconds),
        batch_size=chunk,
        device=torch.cuda.get_device_name(where) if where.type == "cuda" else where.type,
        threads=torch.get_num_threads(),
    )


def _median(prepared: Classifier, batch_size: int, device: torch.device, seconds: float) -> float:
    """Seconds of one forward, an accelerator's to its end."""
    images = torch.zeros(batch_size, prepared.preprocess.channels, *prepared.preprocess.size, device=device)
    taken: list[float] = []
    with torch.inference_mode():
        while sum(taken[_WARM_UP:]) < seconds or len(taken) < _WARM_UP + _LEAST_REPEATS:
            began = time.perf_counter()
            prepared(images)
            if device.type != "cpu":
                torch.accelerator.synchronize(device)
            taken.append(time.perf_counter() - began)
    return median(taken[_WARM_UP:])
