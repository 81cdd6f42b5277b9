"""The CAM family against closed forms, slow re-derivations and grad-cam's own call."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import CamHead
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import create_explainer
from xkd_eval.testing import SmallNetwork

from .conftest import livened, trained_look, wrap


class FunctionalRelu(SmallNetwork):
    """The last map before its ReLU, which is a function and works in place: torchvision's DenseNet."""

    def __init__(self):
        super().__init__()
        self.features = self.features[:-1]

    def forward(self, images):
        return self.head(F.relu(self.features(images), inplace=True).mean((2, 3)))


@pytest.fixture
def features(classifier, images):
    return classifier.forward_with_features(images).features


@pytest.fixture
def weights(classifier, classes):
    return classifier.head_weight[classes][:, :, None, None]


def test_gradcam_is_the_cam_over_its_places(classifier, images, classes):
    cam = create_explainer("cam", clamp=True)(classifier, images, classes)
    torch.testing.assert_close(create_explainer("gradcam")(classifier, images, classes), cam / 64)


def test_gradcam_is_the_cam_behind_a_functional_relu_too(images, classes):
    head = CamHead("features", "head", "NCHW", relu=True, steps=(), map_size=(8, 8), proof_error=0.0)
    classifier = wrap(trained_look(FunctionalRelu()), 32, 5, head)
    cam = create_explainer("cam", clamp=True)(classifier, images, classes)
    torch.testing.assert_close(create_explainer("gradcam")(classifier, images, classes), cam / 64)


def test_hirescam_is_signed(classifier, images, classes):
    cam = create_explainer("cam")(classifier, images, classes)
    assert cam.min() < 0
    torch.testing.assert_close(create_explainer("hirescam")(classifier, images, classes), cam / 64)


def test_layercam_takes_the_positive_weights(classifier, images, classes, features, weights):
    maps = create_explainer("layercam")(classifier, images, classes)
    torch.testing.assert_close(maps, (weights.clamp(min=0) * features).sum(1) / 64)


def test_ablationcam_weighs_by_the_relative_drop(classifier, images, classes, features, weights):
    logits = classifier(images).gather(1, classes[:, None])[:, :, None, None]
    drops = weights * features.mean((2, 3), keepdim=True) / logits  # a GAP-linear net loses w_c * mean(F_c)
    maps = create_explainer("ablationcam", relu=False)(classifier, images, classes)
    torch.testing.assert_close(maps, (drops * features).sum(1), rtol=1e-4, atol=1e-5)


def test_ablationcam_zeroes_channels_of_maps_with_negative_values(images, classes):
    class NoRelu(FunctionalRelu):
        def forward(self, images):
            return self.head(self.features(images).mean((2, 3)))

    head = CamHead("features", "head", "NCHW", relu=False, steps=(), map_size=(8, 8), proof_error=0.0)
    classifier = wrap(trained_look(NoRelu()), 32, 5, head)
    features = classifier.forward_with_features(images).features
    assert features.min() < 0
    logits = classifier(images).gather(1, classes[:, None])[:, :, None, None]
    drops = classifier.head_weight[classes][:, :, None, None] * features.mean((2, 3), keepdim=True) / logits
    maps = create_explainer("ablationcam", relu=False)(classifier, images, classes)
    torch.testing.assert_close(maps, (drops * features).sum(1), rtol=1e-4, atol=1e-4)


def test_scorecam_slowly(classifier, images, classes, features):
    slow = []
    for image, label, channels in zip(images, classes, features, strict=True):
        scores = []
        for channel in channels:
            mask = F.interpolate(channel[None, None], (32, 32), mode="bilinear", align_corners=True)
            mask = (mask - mask.min()) / (mask.max() - mask.min() + 1e-8)
            scores.append(classifier(image[None] * mask)[0, label])
        slow.append((torch.stack(scores).softmax(0)[:, None, None] * channels).sum(0).clamp(min=0))
    torch.testing.assert_close(create_explainer("scorecam")(classifier, images, classes), torch.stack(slow))


def test_eigencam_is_the_first_component_with_its_larger_side_up(classifier, images, classes, features):
    maps = create_explainer("eigencam")(classifier, images, classes)
    points = features.flatten(2).transpose(1, 2)
    _, values, components = torch.linalg.svd(points - points.mean(1, keepdim=True))
    assert (maps.amax((1, 2)) >= -maps.amin((1, 2))).all()
    torch.testing.assert_close(maps.flatten(1).norm(dim=1), values[:, 0], rtol=1e-4, atol=1e-5)
    projected = ((points - points.mean(1, keepdim=True)) @ components[:, 0, :, None])[:, :, 0]
    torch.testing.assert_close(maps.flatten(1).abs(), projected.abs(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "library_class"),
    [
        ("gradcam", "GradCAM"),
        ("gradcam++", "GradCAMPlusPlus"),
        ("xgradcam", "XGradCAM"),
        ("layercam", "LayerCAM"),
        ("hirescam", "HiResCAM"),
        ("scorecam", "ScoreCAM"),
        ("fullgrad", "FullGrad"),
    ],
)
def test_normalised_as_grad_cam_does_it_equals_grad_cams_own_call(
    name, library_class, classifier, images, classes, capsys
):
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.image import scale_cam_image
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    maps = create_explainer(name)(classifier, images, classes)
    ours = scale_cam_image(scale_cam_image(np.maximum(maps.numpy(), 0), (32, 32)))
    layers = [] if name == "fullgrad" else [classifier.model.features]
    with getattr(pytorch_grad_cam, library_class)(classifier.model, layers) as method:
        targets = [ClassifierOutputTarget(label) for label in classes.tolist()]
        theirs = method(images.clone().requires_grad_(), targets)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


class SwappedOrder(nn.Module):
    """Runs its layers in another order than it defines them, and leaves one out."""

    def __init__(self):
        super().__init__()
        self.second, self.unused, self.first = nn.Conv2d(6, 4, 1), nn.Conv2d(3, 9, 1), nn.Conv2d(3, 6, 1)

    def forward(self, images):
        return self.second(self.first(images).relu()).mean((2, 3))


def test_fullgrad_pairs_each_bias_with_its_own_gradient(images):
    classes = torch.tensor([0, 3, 1])
    ordered = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    swapped = SwappedOrder()
    swapped.first, swapped.second = ordered[0], ordered[2]
    maps = [create_explainer("fullgrad")(wrap(model, 32, 4), images, classes) for model in (ordered, swapped)]
    torch.testing.assert_close(maps[0], maps[1])


class Windows(nn.Module):
    """A convolution with a bias on the four quarters of each image, and a head."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3, padding=1), nn.Linear(6, 4)

    def forward(self, images):
        quarters = torch.cat([half for row in images.chunk(2, 2) for half in row.chunk(2, 3)])
        return self.head(self.conv(quarters).relu().mean((2, 3)).unflatten(0, (4, -1)).mean(0))


class Attention(nn.Module):
    """A convolution with a bias, and attention over its places, which uses its own biases without calling a layer."""

    def __init__(self):
        super().__init__()
        self.conv, self.unused, self.head = nn.Conv2d(3, 8, 8, stride=8), nn.Conv2d(3, 8, 1), nn.Linear(8, 4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, images):
        tokens = self.conv(images).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


class ActivatedNorm(nn.BatchNorm2d):
    def forward(self, images):
        return super().forward(images).relu()


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (Windows(), "(conv)"),
        (Attention(), "(attention.in_proj_bias)"),
        (nn.Sequential(torch.jit.script(nn.Conv2d(3, 4, 1)), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "TorchScript"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), ActivatedNorm(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "(1)"),
        (nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "no biases"),
    ],
    ids=["windows", "attention", "TorchScript", "a norm with its activation", "no biases"],
)
def test_fullgrad_is_refused_where_it_would_leave_biases_out(model, where):
    with pytest.raises(ExplainerError, match="fullgrad") as refused:
        create_explainer("fullgrad").check(wrap(model, 32, 4).private())
    assert where in str(refused.value)


def test_a_headless_network_is_explained_at_its_last_map(images, classes):
    class MaxPooled(SmallNetwork):
        def forward(self, images):
            return self.head(self.features(images).amax((2, 3)))

    classifier = wrap(trained_look(MaxPooled()), 32, 5)
    maps = create_explainer("hirescam")(classifier, images, classes)
    features = classifier.model.features(images)
    peaks = features == features.amax((2, 3), keepdim=True)
    expected = classifier.model.head.weight[classes][:, :, None, None] * features * peaks
    torch.testing.assert_close(maps, expected.sum(1))


def test_a_network_without_any_map_is_refused(images, classes):
    classifier = wrap(nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5)), 32, 5)
    with pytest.raises(ExplainerError, match=r"no layer gives a map of places"):
        create_explainer("gradcam").check(classifier)


def test_swin_gives_its_last_map(classes):
    import timm

    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, img_size=64, embed_dim=24, depths=(1,) * 4)
    head = CamHead("norm", "head.fc", "NHWC", relu=False, steps=(), map_size=(2, 2), proof_error=0.0)
    classifier, images = wrap(livened(model), 64, 5, head), torch.randn(3, 3, 64, 64)
    cam = create_explainer("cam", clamp=True)(classifier, images, classes)
    torch.testing.assert_close(create_explainer("gradcam")(classifier, images, classes), cam / 4)


@pytest.mark.parametrize("network", ["vit", "distilled_deit", "torchvision_vit"])
def test_transformers_give_their_patch_grid_in_order(network, request, images, classes):
    classifier = request.getfixturevalue(network)
    maps = create_explainer("hirescam")(classifier, images, classes)
    assert maps.shape == (3, 4, 4) and maps.std() > 0
    blocks = classifier.model.encoder.layers if network == "torchvision_vit" else classifier.model.blocks
    norm = blocks[-1].ln_1 if network == "torchvision_vit" else blocks[-1].norm1
    handle = norm.register_forward_hook(lambda module, inputs, output: output.retain_grad() or kept.append(output))
    kept = []
    classifier(images.clone().requires_grad_()).gather(1, classes[:, None]).sum().backward()
    handle.remove()
    product = (kept[0] * kept[0].grad).sum(2).detach()
    torch.testing.assert_close(maps.flatten(1), product[:, -16:])
