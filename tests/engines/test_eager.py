"""The prepared copy: the same logits, features and CAM as the network it was made of, and that one left alone."""

import copy
from contextlib import nullcontext

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torchvision import models

from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import find_cam_head
from xkd_eval.engines.bfloat16 import bf16_is_native
from xkd_eval.engines.eager import check_finite, on_device, prepare
from xkd_eval.engines.tf32 import check_tf32
from xkd_eval.errors import XkdError
from xkd_eval.explanations.explain import explain

CPU = torch.device("cpu")


def classifier_of(model: nn.Module, size: int = 64) -> Classifier:
    """With norm statistics away from 0 and 1, so that folding has something to get wrong."""
    generator = torch.Generator().manual_seed(3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias):
                tensor.data.add_(0.3 * torch.randn(tensor.shape, generator=generator))
            for tensor in (module.running_var, module.weight):
                tensor.data.mul_(0.5 + torch.rand(tensor.shape, generator=generator))
    preprocess = Preprocess(size=(size, size))
    head = find_cam_head(model.eval(), preprocess)
    return Classifier(model, preprocess, name="net", num_classes=10, head=head).eval()


@pytest.mark.parametrize(
    ("make", "batch_norms_left"),
    [
        (lambda: models.resnet18(num_classes=10), 0),
        (lambda: models.mobilenet_v2(num_classes=10), 0),
        (lambda: timm.create_model("efficientnet_b0", num_classes=10), 0),  # norms hold their activations
        (lambda: models.densenet121(num_classes=10), 62),  # norms stand before the convolutions, where none can fold
    ],
    ids=["resnet18", "mobilenet_v2", "efficientnet_b0", "densenet121"],
)
def test_a_prepared_copy_gives_the_same_logits_and_features(make, batch_norms_left):
    classifier = classifier_of(make())
    before = classifier.digest()
    images = torch.rand(3, 3, 64, 64)
    prepared = prepare(classifier, CPU)
    with torch.inference_mode():
        expected, found = classifier.forward_with_features(images), prepared.forward_with_features(images)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))
    left = sum(isinstance(module, nn.BatchNorm2d) for module in prepared.model.modules())
    assert left <= batch_norms_left
    assert classifier.digest() == before


class Trap(nn.Module):
    """A network of one convolution and one norm that may not be folded, for the reason in its subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.body = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Identity()
        self.fc = nn.Linear(6, 10)

    def forward(self, x):
        return self.fc(self.body(self.between(x)).mean((2, 3)))


class UsedAroundTheNorm(Trap):
    def between(self, x):
        x = self.conv(x)
        return self.norm(x) + x


class ChangedInPlace(Trap):
    def between(self, x):
        return self.norm(nn.functional.relu_(self.conv(x)))


class ReadByTheNetwork(Trap):
    def between(self, x):
        return self.norm(self.conv(x)) * self.norm.weight[:, None, None]


class NormUsedTwice(Trap):
    def between(self, x):
        return self.norm(self.norm(self.conv(x)))


class BlockUsedTwice(Trap):
    def between(self, x):
        return self.norm(self.conv(x)) + self.norm(self.conv(-x))


class WeightNormed(Trap):
    def __init__(self) -> None:
        super().__init__()
        parametrizations.weight_norm(self.conv)

    def between(self, x):
        return self.norm(self.conv(x))


class BehindThePool(Trap):
    """The maps are made with the numbers of both, which are steps from the pooled vector to the head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.conv = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1, bias=False)

    def forward(self, x):
        return self.fc(self.norm(self.conv(self.first(x).relu().mean((2, 3), keepdim=True))).flatten(1))


@pytest.mark.parametrize(
    "trap",
    [
        *(UsedAroundTheNorm, ChangedInPlace, ReadByTheNetwork, NormUsedTwice, BlockUsedTwice, WeightNormed),
        BehindThePool,
    ],
)
@pytest.mark.parametrize("fresh", [True, False], ids=["fresh", "trained"])
def test_what_folding_would_change_is_not_folded(trap, fresh):
    model = trap()
    untouched = copy.deepcopy(model)
    classifier = classifier_of(model)
    if fresh:  # the norm is the identity, with which a wrong fold would give the right logits
        classifier.model.load_state_dict(untouched.state_dict())
    prepared = prepare(classifier, CPU)
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(prepared(images), classifier(images), rtol=1e-4, atol=1e-5)
    assert isinstance(prepared.model.norm, nn.BatchNorm2d)


def test_a_copy_is_only_made_for_another_device():
    classifier = classifier_of(models.resnet18(num_classes=10))
    assert on_device(classifier, CPU) is classifier
    moved = on_device(classifier, torch.device("meta"))
    assert {parameter.device.type for parameter in moved.parameters()} == {"meta"}
    assert {parameter.device.type for parameter in classifier.parameters()} == {"cpu"}


def test_bf16_returns_float32_and_computes_the_head_in_it():
    classifier = classifier_of(models.resnet18(num_classes=10))
    prepared = prepare(classifier, CPU, "bf16")
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        logits, features = prepared.forward_with_features(images)
        rederived = prepared.cams(features).mean((2, 3)) + prepared.head_bias
        expected = classifier(images)
    assert logits.dtype == features.dtype == torch.float32
    torch.testing.assert_close(rederived, logits, rtol=0.02, atol=0.02)
    assert (logits - expected).abs().max() < 0.03 * expected.abs().max()
    assert len(logits.unique()) == logits.numel()  # not rounded to 8 bits


def test_weights_that_are_not_finite_are_an_error():
    model = models.resnet18(num_classes=10).eval()
    classifier = classifier_of(model)
    classifier.model.fc.bias.data[3] = float("nan")
    with pytest.raises(XkdError, match="not finite"):
        prepare(classifier, CPU)


def test_logits_that_are_not_finite_are_an_error_that_names_the_images():
    check_finite(torch.zeros(2, 3), "net", "these")
    with pytest.raises(XkdError, match="net gives logits that are not finite on these"):
        check_finite(torch.tensor([[0.0, torch.inf]]), "net", "these")


class Float32Inside(Trap):
    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(6, 6, 3)

    def between(self, x):
        return self.norm(self.wide(self.conv(x).float()))


def test_a_network_that_does_not_run_in_bfloat16_is_an_error():
    classifier = classifier_of(Float32Inside())
    prepare(classifier, CPU)
    with pytest.raises(XkdError, match=r"precision: net does not run in bfloat16 .*; use fp32"):
        prepare(classifier, CPU, "bf16")


def test_tf32_is_refused_where_it_is_not_multiplied(monkeypatch):
    message = (
        r"^precision: tf32 found, and the device is {}; expected an NVIDIA GPU of Ampere or later; use fp32 or bf16$"
    )
    with pytest.raises(XkdError, match=message.format("'cpu'")):
        prepare(classifier_of(models.resnet18(num_classes=4)), CPU, "tf32")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    for capability, refused in (((7, 5), True), ((8, 0), False), ((9, 0), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        with pytest.raises(XkdError, match=message.format("Tesla T4")) if refused else nullcontext():
            check_tf32(torch.device("cuda"))


def test_bf16_leaves_convolutions_of_few_terms_as_they_are():
    network = models.mobilenet_v2(num_classes=10)
    classifier = classifier_of(network)
    exact, rounded = prepare(classifier, CPU), prepare(classifier, CPU, "bf16")
    depthwise, pointwise = "features.5.conv.1.0", "features.5.conv.0.0"
    kept = rounded.model.get_submodule(depthwise).weight
    torch.testing.assert_close(kept, exact.model.get_submodule(depthwise).weight, rtol=0, atol=0)
    assert rounded.model.get_submodule(pointwise).weight.dtype == torch.bfloat16


def test_bf16_is_native_where_the_cpu_lists_it(monkeypatch):
    found = {"avx512_bf16": False, "amx_bf16": False, "avx512_bw": True, "cpu_name": "bf16"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found)
    assert not bf16_is_native(CPU)
    found["amx_bf16"] = True
    assert bf16_is_native(CPU)


class Always(nn.Module):
    """A network that does something more to the pooled features, in eval mode too."""

    def __init__(self, more):
        super().__init__()
        self.more, self.convolution, self.linear = more, nn.Conv2d(3, 8, 3, 2), nn.Linear(8, 10)

    def forward(self, images):
        return self.linear(self.more(self.convolution(images).relu().mean((2, 3))))


@pytest.mark.parametrize(
    "more",
    [F.dropout, lambda pooled: pooled + 0.1 * torch.randn_like(pooled), lambda pooled: pooled - pooled.mean(0)],
)
def test_a_network_that_does_not_answer_for_the_image_alone_is_refused(more):
    """Its rows would differ from batch size to batch size, and from call to call."""
    classifier = load_classifier(Always(more), size=32)
    with pytest.raises(XkdError, match=r"^model: Always answers otherwise when an image is classified again, beside"):
        prepare(classifier, CPU)
    with pytest.raises(XkdError, match=r"^model: Always answers otherwise"):
        explain(classifier, np.zeros((32, 32, 3), np.uint8), explainer="gradcam")
