"""Out of memory: fewer images a forward, said, and continued."""

import logging
import subprocess
import sys

import pytest
import torch
from torch import nn

from xkd_eval import evaluate, load_classifier, perturbation_test
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.engines.memory import is_out_of_memory
from xkd_eval.engines.network import Network
from xkd_eval.engines.plan import Plan
from xkd_eval.errors import XkdError
from xkd_eval.explainers import create_explainer

CPU = torch.device("cpu")
SIZE = (40, 40)


class Hungry(nn.Module):
    """It has the memory for so many images a forward."""

    def __init__(self, most: int = 64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)
        self.most, self.error = most, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.most:
            raise self.error
        return self.head(self.conv(images).relu().mean((2, 3)))


def network_of(model: Hungry, most: int, plan: Plan | None = None) -> Network:
    """Made while there was memory."""
    classifier = load_classifier(model, size=SIZE, mean=0.5, std=0.25)
    made = Network(classifier, classifier.preprocess, CPU, plan=plan)
    for prepared in (made._exact, made.classifier):
        prepared.model.most = most
    return made


def test_half_as_many_images_as_often_as_it_takes(caplog):
    images = torch.rand(40, 3, *SIZE)
    network, planned = network_of(Hungry(), 20), network_of(Hungry(), 64, Plan(16, 8))
    assert torch.equal(network.classify(images), planned.classify(images))
    assert network.chunks == {"chunk": 16, "clean_chunk": 8} and planned.chunks is None
    said = [record.getMessage() for record in caplog.records if "memory" in record.getMessage()]
    assert said == [
        "Hungry: out of memory with 64 images a forward; continued with 32",
        "Hungry: out of memory with 32 images a forward; continued with 16",
    ]
    network.classify(images)
    assert len([record for record in caplog.records if "memory" in record.getMessage()]) == 2, "it stays so"


def test_the_clean_pass_and_explainers_have_their_own_number():
    images, classes = torch.rand(5, 3, *SIZE), torch.arange(5)
    network, planned = network_of(Hungry(), 2), network_of(Hungry(), 64, Plan(64, 2))
    for ours, theirs in zip(network.clean(images, ["a", "e"]), planned.clean(images, ["a", "e"]), strict=True):
        assert torch.equal(ours, theirs)
    assert network.chunks == {"chunk": 64, "clean_chunk": 2}
    gradcam = create_explainer("gradcam")  # its failure is an ExplainerError, which says what it was raised from
    ours, theirs = (made.explain(gradcam, images, classes, list("abcde")) for made in (network, planned))
    assert torch.equal(ours, theirs)
    explained = network_of(Hungry(), 3)
    explained.explain(gradcam, images, classes, list("abcde"))
    assert explained.chunks == {"chunk": 64, "clean_chunk": 2}


def test_no_photograph_is_lost_where_a_batch_ends_with_fewer_at_a_time(monkeypatch):
    """Randomisation takes a batch a chunk at a time, and explains networks of its own making."""
    classifier, calls, forward = load_classifier(Hungry(), size=SIZE, mean=0.5, std=0.25), [], Hungry.forward

    def failing(self: Hungry, images: torch.Tensor) -> torch.Tensor:
        calls.append(len(images))
        self.most = 8 if len(calls) < 30 else 4
        return forward(self, images)

    given = {"explainers": ["gradcam"], "tests": ["randomisation"], "device": "cpu", "batch_size": 32}
    whole = evaluate(classifier, EmbeddedDataset("test", size=24), **given).results[0]
    monkeypatch.setattr(Hungry, "forward", failing)
    found = evaluate(classifier, EmbeddedDataset("test", size=24), **given).results[0]
    assert found.summary["smaller_chunks"]["clean_chunk"] == 4 and max(calls[:30]) == 8
    assert found.rows["id"].equals(whole.rows["id"]) and found.summary["n_images"] == 24


def test_one_image_that_does_not_fit_is_one_line():
    network = network_of(Hungry(), 0)
    with pytest.raises(
        XkdError, match="device: cpu has not the memory for one image of Hungry a forward; what is done"
    ):
        network.classify(torch.rand(2, 3, *SIZE))


def test_other_failures_are_not_taken_for_it():
    model = Hungry()
    network = network_of(model, 20)
    network._exact.model.error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1"):
        network.classify(torch.rand(40, 3, *SIZE))
    assert network.chunks is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("shape '[2]' is invalid"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_words_for_it(error, expected):
    assert is_out_of_memory(error) is expected
    raised = XkdError("explainer 'x': it failed")
    raised.__cause__ = error
    assert is_out_of_memory(raised) is expected


def test_a_run_says_what_the_memory_sufficed_for(monkeypatch, tmp_path, caplog):
    classifier = load_classifier(Hungry(), size=SIZE, mean=0.5, std=0.25)
    images, given = EmbeddedDataset("test", size=12), {"fractions": (0.3, 0.6), "figures": False, "device": "cpu"}
    whole = perturbation_test(classifier, images, **given)
    assert whole.summary["smaller_chunks"] is None
    short = Hungry.forward

    def forward(self: Hungry, images: torch.Tensor) -> torch.Tensor:
        self.most = 30
        return short(self, images)

    monkeypatch.setattr(Hungry, "forward", forward)
    with caplog.at_level(logging.WARNING):
        found = perturbation_test(classifier, images, output=tmp_path / "run", **given)
    assert found.summary["smaller_chunks"] == {"chunk": 16, "clean_chunk": 8}
    assert found.description["settings"]["chunk"] == 64, "what was planned"
    assert found.summary["clean_accuracy"] == whole.summary["clean_accuracy"]
    assert found.rows["positive_hit"].equals(whole.rows["positive_hit"]), "which images were classified rightly"
    again = perturbation_test(classifier, images, output=tmp_path / "run", **given)
    assert again.summary["smaller_chunks"] == found.summary["smaller_chunks"]


# Of 8 images the activations take 512 MiB.
LIMITED = """
import resource, torch
from torch import nn
from xkd_eval import load_classifier
from xkd_eval.engines.network import Network

class Wide(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4096, 1), nn.Linear(4096, 4)
    def forward(self, images):
        return self.head(self.conv(images).mean((2, 3)))

classifier = load_classifier(Wide(), size=64, mean=0.5, std=0.5)
network = Network(classifier, classifier.preprocess, torch.device("cpu"))
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 400 * 2**20,) * 2)
print(tuple(network.classify(torch.rand(20, 3, 64, 64)).shape), network.chunks["chunk"] < network.plan.chunk)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS and /proc")
def test_a_process_that_may_take_no_more_goes_on_with_less():
    ended = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert ended.stdout.strip() == "(20, 4) True", ended.stderr
    assert "Wide: out of memory with 8 images a forward; continued with 4" in ended.stderr
