"""Metrics for TensorBoard, where it is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class TensorBoard:
    """Event files in the run directory; nothing where TensorBoard is not installed.

    Args:
        directory: of the run.
        enabled: False in processes that do not write.
        epoch: the one that a run continues after: later events of a former attempt are discarded.
    """

    def __init__(self, directory: Path, enabled: bool, epoch: int) -> None:
        self._writer: Any = None
        if enabled and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(directory / "tensorboard"), purge_step=epoch + 1)

    def write(self, metrics: Mapping[str, float]) -> None:
        """One epoch's metrics."""
        if self._writer is None:
            return
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, int(metrics["epoch"]))
        self._writer.flush()
