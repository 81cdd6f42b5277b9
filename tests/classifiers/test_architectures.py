"""The CIFAR families: published sizes, published weights, and a head that the CAM can rely on."""

from __future__ import annotations

import io
import itertools
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image

from xkd_eval.cam import class_activation_maps
from xkd_eval.classifiers.architectures import (
    ARCHITECTURES,
    arguments_for_state_dict,
    build,
    names,
    register_architecture,
)
from xkd_eval.classifiers.checkpoint import Checkpoint, save_checkpoint
from xkd_eval.classifiers.hooks import ForwardHooks
from xkd_eval.classifiers.loading import load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError

# For 100 classes, as counted on the published implementations: RepDistiller's models/ (Tian et al., ICLR 2020), which
# mdistiller shares. test_counts_by_hand derives some of them without building a network.
PARAMETERS = {
    "resnet8": 83_892,
    "resnet14": 181_108,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet44": 667_188,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet8x4": 1_233_540,
    "resnet32x4": 7_433_860,
    "resnet18": 11_220_132,
    "resnet34": 21_328_292,
    "resnet50": 23_705_252,
    "wrn_16_1": 180_916,
    "wrn_16_2": 703_284,
    "wrn_40_1": 569_780,
    "wrn_40_2": 2_255_156,
    "vgg8": 3_965_028,
    "vgg13": 9_462_180,
    "mobilenetv2": 812_836,
    "shufflenetv1": 949_258,
    "shufflenetv2": 1_355_528,
}


OURS = [name for name in names() if ARCHITECTURES.is_own(name) and name != "reused_head"]
"""The families; what is built around another network has no size of its own."""


def test_every_name_has_a_published_count():
    assert sorted(OURS) == sorted(PARAMETERS)


@pytest.mark.parametrize("name", OURS)
def test_parameter_count_is_the_published_one(name):
    with torch.device("meta"):
        model = build(name, 100)
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


def _conv_bn(inputs, outputs, kernel):
    return inputs * outputs * kernel**2 + 2 * outputs


def _resnet_by_hand(depth, widths):
    total = _conv_bn(3, widths[0], 3)
    for before, width in itertools.pairwise(widths):
        total += _conv_bn(before, width, 3) + ((depth - 2) // 3 - 1) * _conv_bn(width, width, 3)
        total += _conv_bn(before, width, 1) if before != width else 0
    return total + widths[-1] * 100 + 100


def _wide_resnet_by_hand(depth, factor):
    total, before = 3 * 16 * 9, 16
    for width in (16 * factor, 32 * factor, 64 * factor):
        # The norms stand before the convolutions: the block's first counts the channels that come in.
        total += before * width * 9 + ((depth - 4) // 3 - 1) * width**2 * 9
        total += 2 * before + ((depth - 4) // 3 - 1) * 2 * width
        total += before * width if before != width else 0
        before = width
    return total + 2 * before + before * 100 + 100


def test_counts_by_hand():
    narrow, times_four = (16, 16, 32, 64), (32, 64, 128, 256)
    for depth in (8, 14, 20, 32, 44, 56, 110):
        assert _resnet_by_hand(depth, narrow) == PARAMETERS[f"resnet{depth}"]
    assert _resnet_by_hand(8, times_four) == PARAMETERS["resnet8x4"]
    assert _resnet_by_hand(32, times_four) == PARAMETERS["resnet32x4"]
    for depth, factor in ((16, 1), (16, 2), (40, 1), (40, 2)):
        assert _wide_resnet_by_hand(depth, factor) == PARAMETERS[f"wrn_{depth}_{factor}"]
    widths = (3, 64, 128, 256, 512, 512)
    vgg8 = sum(_conv_bn(*pair, 3) + pair[1] for pair in itertools.pairwise(widths))
    assert vgg8 + 512 * 100 + 100 == PARAMETERS["vgg8"]


@pytest.fixture(scope="module", params=OURS)
def network(request) -> torch.nn.Module:
    """Each architecture once, in float64; pytest runs the tests that take it one after the other."""
    return build(request.param, 10).eval().double()


def test_cam_mean_plus_bias_is_the_logit_at_two_sizes(network):
    last_map = {}

    def keep(key, module, inputs, output):
        if output.ndim == 4 and output.shape[-1] > 1:
            last_map["output"] = output

    for size in (32, 64):
        with torch.no_grad(), ForwardHooks(dict(network.named_modules()), keep):
            logits = network(torch.randn(2, 3, size, size, dtype=torch.float64))
        features = last_map["output"]
        cams = class_activation_maps(features, network.linear.weight)
        torch.testing.assert_close(cams.mean((2, 3)) + network.linear.bias, logits)
        assert (features >= 0).all()


def test_stages_are_modules_whose_maps_shrink(network):
    sizes = []
    stages = {stage: network.get_submodule(stage) for stage in network.stages}
    seen = ForwardHooks(stages, lambda key, module, inputs, output: sizes.append(output.shape[-1]))
    with torch.no_grad(), seen:
        network(torch.randn(1, 3, 32, 32, dtype=torch.float64))
    assert len(sizes) == len(network.stages) >= 3
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "mobilenetv2", "shufflenetv1", "shufflenetv2"])
def test_every_parameter_gets_a_gradient(name):
    model = build(name, 10)
    model(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", ["resnet20", "resnet8x4", "wrn_16_2", "vgg8", "mobilenetv2", "shufflenetv2"])
def test_networks_begin_as_the_published_ones(name):
    """By the rules of RepDistiller and mdistiller: torch's own, by the inputs, where these have none."""
    torch.manual_seed(0)
    model = build(name, 100)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.weight == 1).all() and (module.bias == 0).all()
        elif isinstance(module, torch.nn.Conv2d):
            assert module.bias is None or (module.bias == 0).all()
            places = module.kernel_size[0] * module.kernel_size[1]
            inputs, outputs = places * module.in_channels // module.groups, places * module.out_channels
            deviation = (3 * inputs) ** -0.5 if name == "shufflenetv2" else (2 / outputs) ** 0.5
            if module.weight.numel() > 2000:
                assert module.weight.std().item() == pytest.approx(deviation, rel=0.1)
    weight, bias = model.linear.weight, model.linear.bias
    by_inputs = (3 * weight.shape[1]) ** -0.5
    is_narrow = name in ("vgg8", "mobilenetv2")
    assert weight.std().item() == pytest.approx(0.01 if is_narrow else by_inputs, rel=0.1)
    begins_at_zero = is_narrow or name == "wrn_16_2"
    assert bias.std().item() == pytest.approx(0 if begins_at_zero else by_inputs, rel=0.2)


def test_option_a_has_no_shortcut_parameters_and_keeps_the_channels_in_the_middle():
    model = build("resnet8", 10, shortcut="A")
    assert not [key for key in model.state_dict() if "shortcut" in key]
    features = torch.arange(16.0).reshape(1, 16, 1, 1).expand(1, 16, 4, 4) + 1
    shortcut = model.get_submodule("layer2.0.shortcut")(features)
    assert shortcut.shape == (1, 32, 2, 2)
    assert shortcut[0, :, 0, 0].tolist() == [0.0] * 8 + [float(value) for value in range(1, 17)] + [0.0] * 8


def test_arguments_are_read_off_the_weights():
    for arguments in ({"num_classes": 7, "shortcut": "A"}, {"num_classes": 7, "shortcut": "B"}):
        assert arguments_for_state_dict("resnet8", build("resnet8", **arguments).state_dict()) == arguments
    assert arguments_for_state_dict("vgg8", build("vgg8", 3).state_dict()) == {"num_classes": 3}


def test_bad_input_is_named():
    with pytest.raises(XkdError, match=r"unknown 'ResNet21'; nearest: .*resnet20"):
        build("ResNet21", 10)
    with pytest.raises(XkdError, match="vgg8: unknown argument 'shortcut'"):
        build("vgg8", 10, shortcut="A")
    with pytest.raises(XkdError, match="shortcut: 'C' found"):
        build("resnet8", 10, shortcut="C")
    with pytest.raises(XkdError, match=r"linear\.weight"):
        arguments_for_state_dict("resnet8", {})
    with pytest.raises(XkdError, match="num_classes: 0 found"):
        build("resnet8", 0)


class Plain(torch.nn.Module):
    """Somebody else's network; its head is not called linear."""

    def __init__(self, num_classes, width=4):
        super().__init__()
        self.linear = torch.nn.Conv2d(3, width, 3)
        self.classify = torch.nn.Linear(width, num_classes)

    def forward(self, images):
        return self.classify(self.linear(images).mean((2, 3)))


def of_five(width=4):
    return Plain(5, width)


def open_ended(**arguments):
    return Plain(**arguments)


# What is installed, and says nothing of classes, is nothing that a checkpoint should call.
subprocess_call = subprocess.call


def no_module(num_classes):
    return num_classes


def failing(num_classes, width):
    return torch.nn.Linear(width, "x")


def test_a_network_of_somebody_else_by_where_it_stands_and_by_name(monkeypatch):
    monkeypatch.setattr(ARCHITECTURES, "_known", dict(ARCHITECTURES._known))
    reference = f"py:{__name__}:Plain"
    made = build(reference, 7, width=6)
    assert made.classify.weight.shape == (7, 6)
    assert arguments_for_state_dict(reference, made.state_dict()) == {"num_classes": 7}
    register_architecture("plain_of_the_test")(Plain)
    assert build("plain_of_the_test", 3).classify.out_features == 3 and names()[-1] == "plain_of_the_test"


def test_a_builder_of_ones_own_is_given_the_classes_where_it_takes_them(tmp_path):
    """A checkpoint says them all the same, and is loaded in the same way."""
    assert build(f"py:{__name__}:open_ended", 7).classify.out_features == 7
    made = build(f"py:{__name__}:of_five", 5, width=6)
    arguments = {"num_classes": 5, "width": 6}
    checkpoint = Checkpoint(f"py:{__name__}:of_five", arguments, made.state_dict(), Preprocess(size=(16, 16)))
    save_checkpoint(checkpoint, tmp_path / "a.pt")
    assert load_classifier(tmp_path / "a.pt").num_classes == 5


@pytest.mark.parametrize(
    ("builder", "arguments", "message"),
    [
        ("Plain", {"widht": 3}, r"py:.*:Plain: unknown argument 'widht'; nearest: width"),
        ("subprocess_call", {"args": ["true"]}, "architecture: call takes no argument called num_classes"),
        ("no_module", {}, r"architecture: 'py:.*:no_module' returned a int; expected an nn.Module"),
        ("failing", {"width": 3}, r"architecture: 'py:.*:failing' fails \(TypeError"),
        ("CIFAR10_WEIGHTS", {}, "architecture: dict takes no argument"),
    ],
)
def test_a_builder_that_fails_is_one_line(builder, arguments, message):
    with pytest.raises(XkdError, match=message) as caught:
        build(f"py:{__name__}:{builder}", 5, **arguments)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_somebody_elses_network_is_loaded_again(tmp_path):
    reference = f"py:{__name__}:Plain"
    made = build(reference, 7, width=6)
    arguments = {"num_classes": 7, "width": 6}
    save_checkpoint(Checkpoint(reference, arguments, made.state_dict(), Preprocess(size=(16, 16))), tmp_path / "a.pt")
    loaded = load_classifier(tmp_path / "a.pt")
    assert torch.equal(loaded.model.classify.weight, made.classify.weight) and loaded.num_classes == 7
    gone = Checkpoint("py:gone.nets:make", arguments, made.state_dict(), Preprocess(size=(16, 16)))
    save_checkpoint(gone, tmp_path / "gone.pt")
    with pytest.raises(XkdError, match=r"architecture: py:gone.nets:make names no module 'gone' in .* or among"):
        load_classifier(tmp_path / "gone.pt")


CIFAR10_WEIGHTS = {
    "resnet20": "resnet20-12fca82f.th",
    "resnet32": "resnet32-d509ac18.th",
    "resnet44": "resnet44-014dd654.th",
    "resnet56": "resnet56-4bfd9763.th",
}


def _load_cifar10(name: str, shared: Path) -> torch.nn.Module:
    path = shared / "data/cifar10/resnet_checkpoints" / CIFAR10_WEIGHTS[name]
    wrapped = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    weights = {key.removeprefix("module."): value for key, value in wrapped.items()}
    model = build(name, **arguments_for_state_dict(name, weights))
    model.load_state_dict(weights)
    return model.eval()


@pytest.mark.parametrize("name", CIFAR10_WEIGHTS)
def test_published_cifar10_weights_load(name, shared):
    assert _load_cifar10(name, shared).linear.out_features == 10


def test_resnet20_reaches_its_published_accuracy(shared):
    import pyarrow.parquet as pq

    table = pq.read_table(shared / "data/cifar10/test-5000.parquet")
    preprocess = Preprocess(size=(32, 32))
    images = torch.stack(
        [preprocess.pixels(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in table["img"].to_pylist()]
    )
    labels = torch.tensor(table["label"].to_pylist())
    model = _load_cifar10("resnet20", shared).to(memory_format=torch.channels_last)

    def accuracy(pixels):
        with torch.inference_mode():
            predicted = torch.cat([model(preprocess.normalise(part)).argmax(1) for part in pixels.split(100)])
        return (predicted == labels).double().mean().item()

    plain, mirrored = accuracy(images), accuracy(images.flip(3))
    # The data's description states 91.5 %, which is the mean over both; as they are, the images give 91.62 %.
    assert plain == pytest.approx(0.9162, abs=0.0005)
    assert (plain + mirrored) / 2 == pytest.approx(0.915, abs=0.001)
