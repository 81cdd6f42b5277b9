"""How batches come to a device."""

from types import SimpleNamespace

import pytest
import torch

from xkd_eval.devices import sent


def test_on_a_cpu_nothing_is_copied():
    values = torch.rand(2, 3)
    assert sent(values, torch.device("cpu")) is values


def test_to_cuda_by_pinned_memory_without_waiting():
    asked = []
    pinned = SimpleNamespace(to=lambda device, **options: asked.append((device, options)) or "there")
    device = torch.device("cuda:1")
    assert sent(SimpleNamespace(pin_memory=lambda: pinned), device) == "there"
    assert asked == [(device, {"non_blocking": True})]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a CUDA GPU keeps its own order; none is here")
def test_what_is_sent_is_whole_when_it_is_read():
    for number in range(50):
        assert bool((sent(torch.full((64, 3, 224, 224), float(number)), torch.device("cuda")) == number).all())
