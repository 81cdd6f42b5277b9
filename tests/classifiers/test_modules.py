"""Modules as they are given: copied, cast, evaluated or refused; and torch's settings change nothing of that."""

from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import weight_norm
from torch.nn.utils.prune import l1_unstructured

from xkd_eval.classifiers import Classifier, Preprocess, load_classifier
from xkd_eval.classifiers.architectures import build
from xkd_eval.classifiers.checkpoint import read_checkpoint, save_checkpoint
from xkd_eval.errors import CamHeadError, XkdError
from xkd_eval.explainers import create_explainer


def test_a_module_is_copied_and_a_classifier_is_not():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).train()
    classifier = load_classifier(model, size=16)
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert classifier.head.linear == "3"
    assert load_classifier(classifier) is classifier
    assert load_classifier(classifier, size=32).head.map_size == (8, 8)


def test_a_classifier_without_its_head_gets_one_on_a_copy():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    classifier = Classifier(model, Preprocess(size=(16, 16)), name="mine", num_classes=2)
    found = load_classifier(classifier)
    assert (found.name, found.head.linear) == ("mine", "3")
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_module_whose_training_diverged():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model[0].bias.data[0] = float("nan")
    with pytest.raises(XkdError, match=r"model: Sequential has NaN or infinite values in '0.bias'"):
        load_classifier(model, size=16)


def test_what_has_no_cam_still_loads():
    from torchvision import models

    classifier = load_classifier(models.mobilenet_v3_small(num_classes=3), size=64)
    assert classifier.head is None
    with pytest.raises(CamHeadError, match=r"model: MobileNetV3 has no class activation map in .* hidden layers"):
        classifier.forward_with_features(torch.zeros(1, 3, 64, 64))


@contextmanager
def autocast():
    with torch.autocast("cpu", torch.bfloat16):
        yield


@contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize(
    "settings",
    [
        partial(default_dtype, torch.float64),
        partial(default_dtype, torch.float16),
        partial(default_device, "meta"),
        autocast,
        torch.inference_mode,
    ],
)
def test_torch_s_settings_change_nothing(student, settings):
    plain = load_classifier(student)
    with settings():
        found = load_classifier(student)
    assert found.digest() == plain.digest()
    assert found.head == plain.head is not None
    assert not any(tensor.is_inference() for tensor in found.state_dict().values())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(student, tmp_path, kind):
    checkpoint = read_checkpoint(student)
    numbers = {
        name: tensor.to(kind) if tensor.is_floating_point() else tensor
        for name, tensor in checkpoint.state_dict.items()
    }
    save_checkpoint(replace(checkpoint, state_dict=numbers), tmp_path / "other.pt")
    assert read_checkpoint(tmp_path / "other.pt").state_dict["linear.weight"].dtype == kind
    from_file = load_classifier(tmp_path / "other.pt")
    module = build("resnet8", num_classes=3).to(kind)
    module.load_state_dict(numbers)
    from_module = load_classifier(module, size=64)
    assert from_file.digest() == from_module.digest()
    assert torch.equal(from_file.model.linear.weight, numbers["linear.weight"].float())
    assert from_file.head is not None and next(module.parameters()).dtype == kind
    # A module of little precision does not cut weights of more.
    assert load_classifier(build("resnet8", num_classes=3).half(), weights=student).digest() == (
        load_classifier(student).digest()
    )


def _lazy():
    return nn.Sequential(nn.LazyConv2d(8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(10))


def _plain():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))


def test_a_module_that_was_never_run_says_so():
    with pytest.raises(
        XkdError, match=r"^model: \w+ cannot be evaluated as it is \(.*\); expected an nn.Module that has"
    ):
        load_classifier(_lazy(), size=32)


def test_a_module_without_values_says_so():
    for model in (_plain().to("meta"), Classifier(_plain().to("meta"), Preprocess(), name="net", num_classes=10)):
        with pytest.raises(XkdError, match=r"^model: \w+ has no values in '(model\.)?0\.weight', .*; move it with"):
            load_classifier(model, size=32)


def _compiled_within():
    model = _plain()
    model[0] = torch.compile(model[0], backend="eager")
    return model


def _compiled_in_place():
    model = _plain()
    model.compile(backend="eager")
    return model


WRAPPED = {
    "compiled": lambda: torch.compile(_plain(), backend="eager"),
    "parallel": lambda: nn.DataParallel(_plain()),
    "both": lambda: torch.compile(nn.DataParallel(_plain()), backend="eager"),
    "a layer": _compiled_within,
    "in place": _compiled_in_place,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_what_is_wrapped_is_the_module_within(name):
    """Its layers are seen by hooks then, and its maps are those of the plain module."""
    torch.manual_seed(0)
    plain = load_classifier(_plain(), size=32)
    torch.manual_seed(0)
    wrapped = WRAPPED[name]()
    images, classes = torch.rand(1, 3, 32, 32), torch.tensor([1])
    direct = Classifier(wrapped, Preprocess(size=(32, 32)), name="net", num_classes=10)
    for classifier in (load_classifier(wrapped, size=32), load_classifier(direct)):
        assert (classifier.head, classifier.digest()) == (plain.head, plain.digest())
        for explainer in map(create_explainer, ("cam", "gradcam")):
            assert torch.equal(explainer(classifier, images, classes), explainer(plain, images, classes))
    assert wrapped.training


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("change", [weight_norm, lambda layer: l1_unstructured(layer, "weight", 0.5)])
def test_weights_that_autograd_made_are_copied(change):
    """Old weight norms and pruned layers hold them, and torch refuses to copy these."""
    model = _plain().eval()
    change(model[0])
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(load_classifier(model, size=32).model(images), model(images))


def test_extra_state_is_in_the_digest():
    class Stated(nn.Linear):
        extra = (torch.zeros(2), {"bits": 8})

        def get_extra_state(self):
            return self.extra

    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), Stated(8, 10))
    classifier = Classifier(model, Preprocess(size=(32, 32)), name="net", num_classes=10)
    digests = []
    for extra in [(torch.zeros(2), {"bits": 8}), (torch.ones(2), {"bits": 8}), (torch.zeros(2), {"bits": 4})]:
        Stated.extra = extra
        digests.append(classifier.digest())
    assert len(set(digests)) == 3


def test_a_network_that_fails_on_one_image_says_so():
    head = nn.BatchNorm1d(8, track_running_stats=False)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head, nn.Linear(8, 10))
    with pytest.raises(XkdError, match=r"^model: Sequential fails on a single image \(Expected more than 1 value"):
        load_classifier(model, size=32)


def test_a_program_of_torch_export_in_one_piece_is_refused_with_what_to_give(tmp_path, monkeypatch):
    (tmp_path / "exported_net.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def make():\n"
        "    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).eval()\n"
        "    return torch.export.export(net, (torch.zeros(2, 3, 8, 8),)).module()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(XkdError, match=r"torch\.export\.unflatten\(program\) has them"):
        load_classifier("py:exported_net:make", size=8)


class _OneByOne(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)).reshape(1, 3)


def test_a_network_of_one_image_at_a_time_is_refused_as_such():
    with pytest.raises(XkdError, match="_OneByOne answers one image and fails on 2 at once; trace or export it"):
        load_classifier(_OneByOne(), size=8)
