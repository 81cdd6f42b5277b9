"""Two passes of unequal networks in float64, and the published implementations' inputs and values."""

from __future__ import annotations

import json

import pytest
import torch

from distill.methods import Pass

BATCH, CLASSES = 5, 6


def random_pass(channels: int, size: int, requires_grad: bool, dtype: torch.dtype = torch.float64) -> Pass:
    """A network's pass with three taps; its logits are those of its last map."""
    taps = {
        f"stage{depth}": torch.randn(BATCH, channels // 2 ** (3 - depth), side, side, dtype=dtype)
        for depth, side in ((1, 4 * size), (2, 2 * size), (3, size))
    }
    features = torch.randn(BATCH, channels, size, size, dtype=dtype).relu().requires_grad_(requires_grad)
    weight = torch.randn(CLASSES, channels, dtype=dtype)
    bias = torch.randn(CLASSES, dtype=dtype)
    logits = features.mean((2, 3)) @ weight.T + bias
    for tap in taps.values():
        tap.requires_grad_(requires_grad)
    distilled = features.amax((2, 3)) @ weight.T
    return Pass(logits, features, weight, bias, taps, distilled_logits=distilled)


@pytest.fixture
def student() -> Pass:
    return random_pass(channels=8, size=4, requires_grad=True)


@pytest.fixture
def teacher() -> Pass:
    return random_pass(channels=16, size=8, requires_grad=False)


@pytest.fixture
def labels() -> torch.Tensor:
    return torch.tensor([0, 1, 2, 3, 3])


@pytest.fixture(scope="session")
def golden(shared) -> dict:
    """Inputs as float64 tensors, values as floats."""
    content = json.loads((shared / "golden/losses.json").read_text())
    inputs = {}
    for name, values in content["inputs"].items():
        if name == "labels":
            inputs[name] = torch.tensor(values)
        elif name.startswith("features"):
            inputs[name] = [torch.tensor(stage, dtype=torch.float64) for stage in values]
        else:
            inputs[name] = torch.tensor(values, dtype=torch.float64)
    return {"inputs": inputs, "values": content["values"]}
