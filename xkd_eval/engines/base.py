"""Engine: what runs a network's forwards in torch's place. One class an engine, found by name."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import ClassVar, Literal

from torch import Tensor, nn

from xkd_eval.errors import XkdError
from xkd_eval.registry import Registry

Forward = Callable[[Tensor], Tensor]
"""(chunk, C, H, W) float32 normalised, on the CPU -> (chunk, K) float32 logits."""

Precision = Literal["fp32", "tf32", "bf16"]
"""In which a forward is computed; weights and images come in float32."""


class Engine(ABC):
    """Runs the forwards of a torch network on the CPU, in one fixed shape.

    Attributes:
        name: by which it is chosen and recorded.
        packages: that it needs, as they are imported; the version of the first is recorded.
        extra: of this project, which installs them.
    """

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    extra: ClassVar[str]

    @property
    def is_installed(self) -> bool:
        """Whether its packages are there."""
        return all(find_spec(package) is not None for package in self.packages)

    @property
    def version(self) -> str:
        """Of its first package."""
        return str(import_module(self.packages[0]).__version__)

    @abstractmethod
    def compiled(self, network: nn.Module, example: Tensor, precision: Precision) -> Forward:
        """The network as this engine runs it, which gives (chunk, K) logits whatever the values of the images.

        Args:
            network: in eval mode, float32, on the CPU; nobody changes it afterwards.
            example: (chunk, C, H, W) float32, the shape of all that comes.
            precision: in which it computes.

        Raises:
            XkdError: it does not compute in that precision here.
            Exception: whatever says that it does not run this network.
        """


def _checked(thing: object) -> type[Engine]:
    if not inspect.isclass(thing) or not issubclass(thing, Engine) or inspect.isabstract(thing):
        raise XkdError(f"engine: {thing!r:.80} is no engine; expected a subclass of xkd_eval.engines.base.Engine")
    told = isinstance(getattr(thing, "name", None), str) and isinstance(getattr(thing, "extra", None), str)
    if not told or not getattr(thing, "packages", ()):
        raise XkdError(f"engine: {thing!r:.80} lacks a name, its packages or the extra that installs them")
    return thing


ENGINES: Registry[type[Engine]] = Registry(
    "engine",
    group="xkd.engines",
    home=["xkd_eval.engines.onnxruntime_engine", "xkd_eval.engines.openvino_engine"],
    check=_checked,
)
"""Engines beside torch by name, the fastest first (benchmarks/engines.py); `auto` takes them in this order."""
