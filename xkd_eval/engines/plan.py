"""Plan: how a network's forwards are run, on which engine and how many images at a time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from xkd_eval.ambient import plain_torch
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.probes import random_images
from xkd_eval.classifiers.told import LOG
from xkd_eval.engines.base import ENGINES, Engine, Forward, Precision
from xkd_eval.engines.eager import chunk_size, prepare
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reason, short

TORCH, AUTO = "torch", "auto"

_PROBE_SEED = 7
# Of the largest logit. float32 engines add up in another order; bfloat16 has 8 bits of mantissa.
_TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "bf16": 0.05}


@dataclass(frozen=True)
class Plan:
    """How a network answers to the images that a test makes.

    Attributes:
        chunk: images a forward.
        engine: that runs it.
        version: of the engine.
        forward: the network as the engine runs it; None where it is torch, or the engine of the network's own file.
    """

    chunk: int
    engine: str = TORCH
    version: str = torch.__version__
    forward: Forward | None = None


def plan(
    classifier: Classifier,
    preprocess: Preprocess,
    device: torch.device,
    precision: Precision = "fp32",
    engine: str = TORCH,
    side: int = 1,
) -> Plan:
    """Choose the engine, which has to prove that its answers are torch's.

    On images of noise, each with more of it black than the one before, no logit may differ by more than 0.0001 of the
    largest (0.05 in bfloat16), so that no class changes whose lead is twice as much; and an image's logits are the same
    bits wherever it stands in the chunk.

    Args:
        classifier: left as it is.
        preprocess: under which it is evaluated.
        device: where it runs.
        precision: of the forwards.
        engine: "torch"; "auto", the first that is installed and proves itself, else torch, which is said; or a name.
        side: photographs along the edge of an image, see `chunk_size`.

    Raises:
        XkdError: an engine that is not known, not installed, for the CPU alone, or does not prove itself.
    """
    chunk = chunk_size(device, side)
    if engine not in (TORCH, AUTO):
        _check_there(engine, device)
    if isinstance(classifier.model, GraphNetwork):
        own = classifier.model.graph.engine
        return Plan(chunk, own, ENGINES[own]().version)
    if engine == TORCH or device.type != "cpu":
        return Plan(chunk)
    images = _probes(preprocess, chunk)
    expected = prepare(classifier, device, size=preprocess.size)
    refused: dict[str, str] = {}
    for made in [kind() for _, kind in ENGINES.items()] if engine == AUTO else [ENGINES[engine]()]:
        if made.is_installed:
            try:
                forward = _proven(made, expected, images, precision)
            except XkdError as error:
                refused[made.name] = str(error)
            else:
                return Plan(chunk, made.name, made.version, forward)
    if engine != AUTO:
        raise XkdError(f"engine: {classifier.name} is not run by {engine}: {refused[engine]}; use torch, or auto")
    if refused:
        why = "; ".join(f"not {name}: {reason}" for name, reason in refused.items())
        LOG.warning("%s: engine torch; %s", classifier.name, why)
    return Plan(chunk)


def _check_there(engine: str, device: torch.device) -> None:
    if engine not in ENGINES and not engine.startswith("py:"):
        raise XkdError(f"engine: unknown {short(engine)}; expected one of {', '.join([AUTO, TORCH, *ENGINES.names()])}")
    made = ENGINES[engine]()
    if not made.is_installed:
        raise XkdError(f"engine: {engine} is not installed; install with `pip install 'xkd-eval[{made.extra}]'`")
    if device.type != "cpu":
        raise XkdError(f"engine: {engine} runs on the CPU, and the device is {device}; use torch, or device cpu")


def _probes(preprocess: Preprocess, chunk: int) -> Tensor:
    """(chunk, C, H, W) of noise, the first rows of each black, from none to almost all."""
    images = random_images(preprocess, _PROBE_SEED, chunk)
    black = preprocess.normalise(torch.zeros_like(images[:1]))[0]
    for place, image in enumerate(images):
        rows = preprocess.size[0] * place // chunk
        image[:, :rows] = black[:, :rows]
    return images


@torch.inference_mode()
def _proven(engine: Engine, expected: Classifier, images: Tensor, precision: Precision) -> Forward:
    """The network on an engine, held to torch's answers; raises XkdError with what is wrong."""
    with plain_torch():
        try:
            forward = engine.compiled(expected.model, images, precision)
        except XkdError:
            raise
        except Exception as error:  # an exporter or a converter may raise anything on a network from outside
            raise XkdError(f"it cannot convert the network ({reason(error)})") from error
        theirs, ours = forward(images), expected(images)
        if theirs.shape != ours.shape:
            raise XkdError(f"it gives logits {tuple(theirs.shape)}, and torch {tuple(ours.shape)}")
        if not theirs.isfinite().all():
            raise XkdError("its logits are not finite")
        allowed = _TOLERANCES[precision] * ours.abs().max()
        difference = (theirs - ours).abs().max()
        if difference > allowed:
            raise XkdError(f"its logits differ from torch's by {difference:.2g}, and {allowed:.2g} is allowed")
        if not torch.equal(forward(images.flip(0)).flip(0), theirs):
            raise XkdError("its answer to an image depends on the others of a batch")
    return forward
