"""Plan: how a network's forwards are run, on which engine and how many images at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.graphs.network import GraphNetwork
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.told import LOG
from xkd_eval.engines.base import ENGINES, Forward, Precision
from xkd_eval.engines.chunks import chunk_size, clean_chunk
from xkd_eval.engines.eager import prepare
from xkd_eval.engines.proof import probes, proven
from xkd_eval.engines.tf32 import check_tf32
from xkd_eval.errors import XkdError
from xkd_eval.foreign import short

TORCH, AUTO = "torch", "auto"


@dataclass(frozen=True)
class Plan:
    """How a network's forwards are run.

    Attributes:
        chunk: images a forward, of those that a test makes.
        clean_chunk: photographs a forward of the clean pass, and of an explainer.
        engine: that answers to the images that a test makes.
        version: of the engine.
    """

    chunk: int
    clean_chunk: int
    engine: str = TORCH
    version: str = torch.__version__


def plan(
    classifier: Classifier,
    preprocess: Preprocess,
    device: torch.device,
    precision: Precision = "fp32",
    engine: str = TORCH,
    side: int = 1,
) -> Plan:
    """Choose how many images a forward takes, and the engine.

    Args:
        classifier: left as it is.
        preprocess: under which it is evaluated.
        device: where it runs.
        precision: of the forwards.
        engine: "torch"; "auto", the first that is installed and runs this network (see `built`), else torch, which is
            said; or a name.
        side: photographs along the edge of an image, see `chunk_size`.

    Raises:
        XkdError: an engine that is not known, not installed, or for the CPU alone; a device without TF32.
    """
    if precision == "tf32":
        check_tf32(device)
    by_torch = Plan(chunk_size(classifier, preprocess, device, side), clean_chunk(device, side))
    if engine not in (TORCH, AUTO):
        check_engine(engine, device)
    if isinstance(classifier.model, GraphNetwork):
        own = ENGINES[classifier.model.graph.engine]()
        return replace(by_torch, engine=own.name, version=own.version)
    if engine == TORCH or device.type != "cpu":
        return by_torch
    if engine != AUTO:
        return replace(by_torch, engine=engine, version=ENGINES[engine]().version)
    refused = []
    for name, kind in ENGINES.items():
        if kind().is_installed:
            chosen = replace(by_torch, engine=name, version=kind().version)
            try:
                built(chosen, classifier, preprocess, precision)
            except XkdError as error:
                refused.append(f"not {name}: {error.__cause__ or error}")
            else:
                return chosen
    if refused:
        LOG.warning("%s: engine torch; %s", classifier.name, "; ".join(refused))
    return by_torch


def check_engine(engine: str, device: torch.device) -> None:
    """Raise XkdError unless an engine of that name is known, is installed, and runs on the device."""
    if engine not in ENGINES and not engine.startswith("py:"):
        raise XkdError(f"engine: unknown {short(engine)}; expected one of {', '.join([AUTO, TORCH, *ENGINES.names()])}")
    made = ENGINES[engine]()
    if not made.is_installed:
        raise XkdError(f"engine: {engine} is not installed; install with `pip install 'xkd-eval[{made.extra}]'`")
    if device.type != "cpu":
        raise XkdError(f"engine: {engine} runs on the CPU, and the device is {device}; use torch, or device cpu")


def built(plan: Plan, classifier: Classifier, preprocess: Preprocess, precision: Precision) -> Forward | None:
    """The network as its engine runs it, once that has proven that its answers are torch's.

    See `proof.proven`: no logit differs by more than 0.0001 of the largest (0.05 in bfloat16), so that no class changes
    whose lead is twice as much.

    Args:
        plan: what was chosen.
        classifier: left as it is.
        preprocess: under which it is evaluated.
        precision: of the forwards.

    Returns:
        None where it is torch, or the engine of the network's own file.

    Raises:
        XkdError: the engine does not run the network, or does not prove itself.
    """
    if plan.engine == TORCH or isinstance(classifier.model, GraphNetwork):
        return None
    expected = prepare(classifier, torch.device("cpu"), size=preprocess.size)
    try:
        engine, images = ENGINES[plan.engine](), probes(preprocess, plan.chunk)
        return proven(engine, expected.model, expected, images, precision)
    except XkdError as error:
        raise XkdError(f"engine: {classifier.name} is not run by {plan.engine}: {error}; use torch, or auto") from error
