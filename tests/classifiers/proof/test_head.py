"""The CAM head over the libraries' model zoos: the logits come out of the maps again, or the right reason is given."""

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.quick_weights import quick_weights
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.head import find_cam_head
from xkd_eval.classifiers.proof.places import Reading
from xkd_eval.classifiers.proof.steps import Step
from xkd_eval.classifiers.proof.target import last_spatial_layer
from xkd_eval.errors import CamHeadError, XkdError

K = 7


def build(name: str) -> nn.Module:
    """`library/architecture`, or `timm/architecture:global_pool`, with random weights."""
    with quick_weights():
        return _built(name)


def _built(name: str) -> nn.Module:
    library, _, architecture = name.partition("/")
    architecture, _, pool = architecture.partition(":")
    if library == "timm":
        import timm

        return timm.create_model(architecture, num_classes=K, **({"global_pool": pool} if pool else {}))
    from torchvision import models

    inception = {"init_weights": False, "aux_logits": False} if architecture in ("googlenet", "inception_v3") else {}
    return models.get_model(architecture, weights=None, num_classes=K, **inception)


def square(size: int) -> Preprocess:
    return Preprocess(size=(size, size))


# name, input size, then what is special about the head
IDENTITY = [
    ("torchvision/resnet18", 64, {}),
    ("torchvision/resnext50_32x4d", 64, {}),
    ("torchvision/densenet121", 64, {"relu": True}),
    ("torchvision/mobilenet_v2", 64, {}),
    ("torchvision/mnasnet0_5", 64, {}),
    ("torchvision/efficientnet_b0", 64, {}),
    ("torchvision/shufflenet_v2_x0_5", 64, {}),
    ("torchvision/regnet_y_400mf", 64, {}),
    ("torchvision/googlenet", 64, {}),
    ("torchvision/inception_v3", 139, {}),
    ("torchvision/squeezenet1_0", 64, {"linear": None}),
    ("torchvision/squeezenet1_1", 64, {"linear": None}),
    ("torchvision/swin_t", 64, {}),
    ("torchvision/convnext_tiny", 64, {"steps": (Step("layer norm", "classifier.0"),)}),
    ("timm/resnet18", 64, {}),
    ("timm/seresnet18", 64, {}),
    ("timm/resnext50_32x4d", 64, {}),
    ("timm/resnetv2_50", 64, {"linear": "head.fc"}),
    ("timm/densenet121", 64, {}),
    ("timm/mobilenetv2_050", 64, {}),
    ("timm/efficientnet_lite0", 64, {}),
    ("timm/regnetx_002", 64, {}),
    ("timm/inception_v3", 139, {}),
    ("timm/swin_tiny_patch4_window7_224", 224, {"layout": "NHWC"}),
    ("timm/convnext_atto", 64, {"steps": (Step("layer norm", "head.norm"),)}),
    ("timm/convnextv2_atto", 64, {"steps": (Step("layer norm", "head.norm"),)}),
    ("timm/poolformer_s12", 64, {"steps": (Step("layer norm", "head.norm"),)}),
    ("timm/pvt_v2_b0", 64, {}),
    ("timm/xception41", 64, {}),
    ("timm/repvgg_a0", 64, {}),
    ("timm/cspresnet50", 64, {}),
    ("timm/dla34", 64, {}),
    ("timm/rexnet_100", 64, {}),
    ("timm/mobilevit_xxs", 64, {}),
    ("timm/botnet26t_256", 256, {}),
    ("timm/mixer_s32_224", 224, {"layout": "tokens", "prefix": 0}),
    ("timm/vit_tiny_patch16_224:avg", 224, {"layout": "tokens", "prefix": 1}),
    ("timm/convnext_atto_rms", 64, {"steps": (Step("RMS norm", "head.norm"),)}),
]

REFUSED = [
    ("torchvision/alexnet", 64, r"hidden layers lie between .* \(classifier\.1, classifier\.4\)"),
    ("torchvision/vgg11", 64, r"hidden layers lie between .* \(classifier\.0, classifier\.3\)"),
    ("timm/vgg11", 64, r"hidden layers lie between .* \(pre_logits\.fc1, pre_logits\.fc2\)"),
    ("torchvision/mobilenet_v3_small", 64, r"hidden layers lie between .* \(classifier\.0\)"),
    ("timm/mobilenetv3_small_050", 64, r"hidden layers lie between .* \(conv_head\)"),
    ("timm/ghostnet_050", 64, r"hidden layers lie between .* \(conv_head\)"),
    ("timm/resnet18:max", 64, r"pools the maximum"),
    ("timm/convnext_atto:max", 64, r"pools the maximum"),
    ("timm/resnet18:avgmax", 64, r"pools a mixture of average and maximum"),
    ("timm/resnet18:catavgmax", 64, r"pools a mixture of average and maximum"),
    ("torchvision/resnet18", 32, r"a single position at 32x32 \(1x1\).* `size` 64"),
    ("timm/resnet18", 16, r"a single position at 16x16 \(1x1\).* `size` 64"),
    ("torchvision/vit_b_32", 224, r"token model: its head reads the class token"),
    ("timm/vit_tiny_patch16_224", 224, r"token model: its head reads the class token"),
    ("timm/deit_tiny_patch16_224", 224, r"token model: its head reads the class token"),
    ("timm/deit_tiny_distilled_patch16_224", 224, r"token model: its head reads"),
    ("timm/resnet50_clip", 64, r"no Linear layer and no 1x1 convolution puts out its logits"),
]


@pytest.mark.parametrize(("name", "size", "expected"), IDENTITY, ids=[name for name, *_ in IDENTITY])
def test_the_logits_come_out_of_the_maps(name, size, expected):
    model = build(name).eval()
    head = find_cam_head(model, square(size))
    assert {field: getattr(head, field) for field in expected} == expected
    if "linear" not in expected:
        assert isinstance(model.get_submodule(head.linear), nn.Linear | nn.Conv2d)
    classifier = Classifier(model, square(size), name=name, num_classes=K, head=head)
    with torch.no_grad():
        logits, features = classifier.forward_with_features(torch.randn(2, 3, size, size))
        maps = classifier.cams(features)
    assert maps.shape == (2, K, *head.map_size)
    assert min(head.map_size) > 1
    torch.testing.assert_close(maps.mean((2, 3)) + classifier.head_bias, logits, rtol=1e-3, atol=1e-5)
    assert head.proof_error < 1e-4


@pytest.mark.parametrize(("name", "size", "reason"), REFUSED, ids=[f"{name}@{size}" for name, size, _ in REFUSED])
def test_what_has_no_cam_is_refused_with_its_reason(name, size, reason):
    refusal = refusal_of(name, size)
    assert re.search(reason, refusal), refusal
    assert "\n" not in refusal


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("timm/efficientformer_l1", ()),
        ("timm/efficientformerv2_s0", ()),
        ("timm/levit_conv_128s", (Step("batch norm", "head.bn", "head_dist.bn"),)),
        ("timm/levit_128s", (Step("batch norm", "head.bn", "head_dist.bn"),)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_average_of_two_heads_is_a_head(name, steps):
    """By hand: both are asked at each place, and what they add at every place is taken off."""
    torch.manual_seed(0)
    model = build(name).eval()
    for path, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.ndim == 1:
            nn.init.uniform_(tensor, 0.5, 1.5)
        elif "attention_biases" in path:
            tensor.data[:, 0] = 8.0  # as trained ones, a place attends to itself: freshly built, to all alike
    head = find_cam_head(model, square(224))
    layers = [model.get_submodule(path) for path in (head.linear, head.averaged)]
    assert head.steps == steps and {"head", "head_dist"} == {path.partition(".")[0] for path in head.layers}
    classifier = Classifier(model, square(224), name=name, num_classes=K, head=head)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        logits, features = classifier.forward_with_features(images)
        last = model.forward_features(images)
        places = last if last.ndim == 3 else last.flatten(2).transpose(1, 2)
        both = sum(part(places.flatten(0, 1)) for part in (model.head, model.head_dist)) / 2
        bias = (layers[0].bias + layers[1].bias) / 2
        expected = (both - bias).unflatten(0, places.shape[:2]).transpose(1, 2).unflatten(2, head.map_size)
        # Of what tells places apart, which is little beside what all share.
        assert (classifier.cams(features) - expected).abs().max() < 0.02 * expected.std((2, 3)).min()
        torch.testing.assert_close(expected.mean((2, 3)) + bias, logits, rtol=1e-4, atol=1e-4)


def refusal_of(name: str, size: int) -> str:
    """The message; a network of half a gigabyte does not outlive the call, as it would in an error that is kept."""
    try:
        found = find_cam_head(build(name), square(size))
    except CamHeadError as error:
        return str(error)
    pytest.fail(f"{name} is not refused: {found}")


class SmallNet(nn.Module):
    """Convolution, batch norm, `pool`, Linear."""

    def __init__(self, pool: Callable[[torch.Tensor], torch.Tensor], features: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=4, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.fc = nn.Linear(features, K)
        self.pool = pool

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(self.pool(F.relu(self.norm(self.conv(images)), inplace=True)))


def test_a_functional_relu_in_place_is_seen():
    head = find_cam_head(SmallNet(lambda maps: maps.mean((2, 3))), square(16))
    assert (head.features, head.linear, head.relu, head.map_size) == ("norm", "fc", True, (4, 4))


def test_the_map_size_follows_the_input_size():
    head = find_cam_head(SmallNet(lambda maps: maps.mean((2, 3))), Preprocess(size=(16, 32)))
    assert head.map_size == (4, 8)


@pytest.mark.parametrize(
    ("pool", "features", "reason"),
    [
        (lambda maps: maps.amax((2, 3)), 6, "pools the maximum"),
        (lambda maps: maps.amax((2, 3)) + maps.mean((2, 3)), 6, "mixture"),
        (lambda maps: maps.flatten(1), 96, "reads the map flattened"),
        (lambda maps: maps.pow(3).mean((2, 3)).pow(1 / 3), 6, "does not read the average"),
    ],
)
def test_other_poolings_are_told_apart_by_their_values(pool, features, reason):
    with pytest.raises(CamHeadError, match=reason):
        find_cam_head(SmallNet(pool, features), square(16))


class IdleNorm(SmallNet):
    """Calls a norm last whose result nothing reads: freshly made, it puts out the very map that is pooled."""

    def __init__(self) -> None:
        super().__init__(lambda maps: maps)
        self.relu = nn.ReLU()
        self.idle = nn.BatchNorm2d(6, eps=0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.conv(images))
        self.idle(maps)
        return self.fc(maps.mean((2, 3)))


def test_a_model_without_any_map():
    with pytest.raises(CamHeadError, match=r"no layer puts out a spatial map"):
        find_cam_head(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, K)), square(16))


def test_a_fresh_norm_does_not_pass_for_the_map_that_it_repeats():
    assert find_cam_head(IdleNorm(), square(16)).features == "relu"


def test_the_model_is_left_as_it_was():
    model = build("torchvision/resnet18").train()
    model.layer1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    find_cam_head(model, square(64))
    last_spatial_layer(model, square(64))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("torchvision/vgg11", 64, ("avgpool", Reading("NCHW"))),
        ("timm/mobilenetv3_small_050", 128, ("blocks", Reading("NCHW"))),
        ("timm/swin_tiny_patch4_window7_224", 224, ("norm", Reading("NHWC"))),
        ("timm/resnet50_clip", 64, ("final_conv", Reading("NCHW"))),
        ("timm/vit_tiny_patch16_224", 224, ("blocks.11.norm1", Reading("tokens", 1))),
        ("timm/deit_tiny_distilled_patch16_224", 224, ("blocks.11.norm1", Reading("tokens", 2))),
        ("timm/xcit_nano_12_p16_224", 224, ("cls_attn_blocks.1.norm1", Reading("tokens", 1))),
        ("torchvision/vit_b_32", 224, ("encoder.layers.encoder_layer_11.ln_1", Reading("tokens", 1))),
    ],
)
def test_the_last_spatial_layer(name, size, expected):
    assert last_spatial_layer(build(name), square(size)) == expected


def test_a_size_that_the_model_rejects_is_an_error_of_one_line():
    with pytest.raises(XkdError, match=r"size: the model rejects images of 8x8: ") as error:
        find_cam_head(build("torchvision/squeezenet1_1"), square(8))
    assert "\n" not in str(error.value)


def test_a_model_without_logits_is_an_error():
    with pytest.raises(XkdError, match=r"its output is a tensor \(2, 6, 4, 4\); a classifier puts out logits"):
        find_cam_head(nn.Conv2d(3, 6, 3, stride=4, padding=1), square(16))
