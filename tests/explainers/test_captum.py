"""Gradient and perturbation methods on networks whose answers are known by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from xkd_eval.classifiers.classifier import CamHead
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import Context, create_explainer
from xkd_eval.explainers.attribution import forward_images
from xkd_eval.explainers.seeding import image_seeds
from xkd_eval.testing import SmallNetwork

from .conftest import trained_look, wrap
from .separate import Counted, SeparateActivations


class Linear(nn.Module):
    """logit_k = sum of w_k * x."""

    def __init__(self, size=32):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 3, size, size))

    def forward(self, images):
        return torch.einsum("bchw,kchw->bk", images, self.weight)


class Sum(nn.Module):
    """Every logit is the sum of all values."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, images):
        return (self.weight * images.sum((1, 2, 3)))[:, None].expand(-1, 5)


class Shared(nn.Module):
    """A residual network with one in-place ReLU for all calls, a functional one, and overlapping max pooling."""

    def __init__(self, act=None):
        super().__init__()
        self.stem, self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)
        self.act, self.pool, self.head = act or nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1), nn.Linear(8, 5)

    def forward(self, images):
        maps = self.pool(self.act(self.stem(images)))
        inner = self.conv2(self.act(self.conv1(maps)))
        inner += maps
        return self.head(F.relu(self.act(inner) - 0.05, inplace=True).mean((2, 3)))


class Gated(Shared):
    """Squeeze and excitation."""

    def forward(self, images):
        maps = self.act(self.stem(images))
        return 5 * self.head((maps * torch.sigmoid(20 * maps.mean((2, 3), keepdim=True))).mean((2, 3)))


class SeparateRelus(Shared):
    """The same as Shared, as captum would have it."""

    def __init__(self, twin):
        super().__init__()
        self.load_state_dict(twin.state_dict())
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(4))

    def forward(self, images):
        maps = self.pool(self.relus[0](self.stem(images)))
        inner = self.conv2(self.relus[1](self.conv1(maps))) + maps
        return self.head(self.relus[3](self.relus[2](inner) - 0.05).mean((2, 3)))


@pytest.fixture
def linear():
    return wrap(Linear(), 32, 5)


def black(classifier, images):
    return classifier.preprocess.normalise(torch.zeros_like(images))


def test_saliency_is_the_largest_magnitude_over_channels(linear, images, classes):
    maps = create_explainer("saliency")(linear, images, classes)
    torch.testing.assert_close(maps, linear.model.weight[classes].abs().amax(1))


def test_input_x_gradient_sums_over_channels(linear, images, classes):
    maps = create_explainer("input_x_gradient")(linear, images, classes)
    torch.testing.assert_close(maps, (linear.model.weight[classes] * images).sum(1))


@pytest.mark.parametrize(
    ("name", "options"), [("integrated_gradients", {}), ("gradient_shap", {"noise": 0.0}), ("deeplift", {})]
)
def test_of_a_linear_network_weights_times_the_difference_from_black(name, options, linear, images, classes):
    maps = create_explainer(name, **options)(linear, images, classes)
    expected = (linear.model.weight[classes] * (images - black(linear, images))).sum(1)
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)


def test_black_is_the_networks_own(images, classes):
    caffe = Preprocess(
        size=(32, 32), mean=(104.0, 117.0, 123.0), std=(1.0, 1.0, 1.0), channel_order="BGR", value_range=255
    )
    classifier = wrap(Linear(), 32, 5)
    classifier.preprocess = caffe
    maps = create_explainer("deeplift")(classifier, images, classes)
    difference = images + torch.tensor([104.0, 117.0, 123.0])[:, None, None]
    torch.testing.assert_close(maps, (classifier.model.weight[classes] * difference).sum(1), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", ["integrated_gradients", "deeplift"])
@pytest.mark.parametrize("network", [SmallNetwork, Shared, lambda: Shared(nn.SiLU()), lambda: Shared(nn.ReLU6())])
def test_contributions_sum_to_the_logits_difference(name, network, images, classes):
    classifier = wrap(trained_look(network()), 32, 5)
    explainer = create_explainer(name, **({"steps": 200} if name == "integrated_gradients" else {}))
    explainer.check(classifier)
    total = explainer(classifier, images, classes).sum((1, 2))
    difference = (classifier(images) - classifier(black(classifier, images))).gather(1, classes[:, None])[:, 0]
    tolerance = 1e-5 if name == "deeplift" else 3e-3
    torch.testing.assert_close(total, difference, rtol=tolerance, atol=tolerance)


@pytest.mark.filterwarnings("ignore:Setting forward")
@pytest.mark.parametrize("network", [SmallNetwork, Shared, lambda: Shared(nn.SiLU()), lambda: Gated(nn.ReLU6())])
def test_deeplift_is_what_captum_makes_of_separate_activations(network, images, classes):
    from captum.attr import DeepLift

    classifier = wrap(trained_look(network()), 32, 5)
    separate = SeparateActivations(classifier.model, images[:1])
    inputs = images.clone().requires_grad_()
    theirs = DeepLift(separate).attribute(inputs, black(classifier, inputs), target=classes).detach().sum(1)
    torch.testing.assert_close(create_explainer("deeplift")(classifier, images, classes), theirs, rtol=1e-4, atol=1e-6)


def test_deeplift_is_refused_where_its_contributions_do_not_sum_up():
    torch.manual_seed(3)
    with pytest.raises(ExplainerError, match=r"'deeplift': Gated: contributions miss the logit's difference by"):
        create_explainer("deeplift").check(wrap(Gated(nn.ReLU()), 32, 5))


def test_gradient_shap_is_seeded_by_the_id(classifier, images, classes):
    explainer = create_explainer("gradient_shap")
    maps = explainer(classifier, images, classes, Context(ids=("a", "b", "c")))
    assert torch.equal(maps, explainer(classifier, images, classes, Context(ids=("a", "b", "c"))))
    other = explainer(classifier, images, classes, Context(ids=("x", "b", "c")))
    assert not torch.equal(maps[0], other[0]) and torch.equal(maps[1:], other[1:])


def test_gradient_shap_is_captums(classifier, images, classes):
    from captum.attr import GradientShap

    seed = image_seeds(images[:1], Context(ids=("a",)), 0)[0]
    with torch.random.fork_rng(devices=[]):
        before = np.random.get_state()
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        theirs = GradientShap(classifier.model).attribute(
            images[:1].clone(), black(classifier, images[:1]), n_samples=25, stdevs=0.1, target=classes[:1]
        )
        np.random.set_state(before)
    ours = create_explainer("gradient_shap")(classifier, images[:1], classes[:1], Context(ids=("a",)))
    torch.testing.assert_close(ours, theirs.detach().sum(1))


@pytest.mark.parametrize("name", ["integrated_gradients", "gradient_shap", "occlusion"])
def test_a_forward_holds_so_many_pixels_and_no_map_changes(classifier, images, classes, name, monkeypatch):
    explainer, ids = create_explainer(name), Context(ids=("a",))
    usual, sizes = explainer(classifier, images[:1], classes[:1], ids), []
    monkeypatch.setattr("xkd_eval.explainers.attribution._FORWARD_PIXELS", 4 * 32 * 32)
    handle = classifier.model.register_forward_pre_hook(lambda module, given: sizes.append(len(given[0])))
    few = explainer(classifier, images[:1], classes[:1], ids)
    handle.remove()
    assert max(sizes) == 4 < sum(sizes)
    torch.testing.assert_close(few, usual, atol=1e-4, rtol=1e-4)
    assert forward_images(torch.zeros(1, 3, 32, 32)) == 4 and forward_images(torch.zeros(1, 3, 512, 512)) == 1


def test_guided_backprop_by_hand():
    model = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2, bias=False))
    inner = torch.tensor([[1.0, 2.0, -3.0], [2.0, -1.0, 0.5]])
    with torch.no_grad():
        model[0].weight.copy_(inner[:, :, None, None])
        model[3].weight.copy_(torch.tensor([[2.0, -1.0], [3.0, 4.0]]))
    classifier = wrap(model, 1, 2)
    image = torch.tensor([1.0, 1.0, 0.0]).reshape(1, 3, 1, 1)  # hidden: 3 and 1, both on
    maps = [create_explainer("guided_backprop")(classifier, image, torch.tensor([label])) for label in (0, 1)]
    assert maps[0].item() == pytest.approx(2 * (1 + 2 - 3))  # the negative -1 is dropped at the second ReLU
    assert maps[1].item() == pytest.approx(3 * (1 + 2 - 3) + 4 * (2 - 1 + 0.5))


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.parametrize("name", ["guided_backprop", "guided_gradcam"])
def test_shared_in_place_and_functional_relus_are_guided_like_separate_modules(name, images, classes):
    from captum.attr import GuidedBackprop, GuidedGradCam

    shared = Shared()
    separate = SeparateRelus(shared).eval().requires_grad_(False)
    # The layer's output is changed in place by what follows; the head only says which layer it is.
    head = CamHead("conv2", "head", "NCHW", relu=False, steps=(), map_size=(8, 8), proof_error=0.0)
    maps = create_explainer(name)(wrap(shared, 32, 5, head), images, classes)
    method = GuidedBackprop(separate) if name == "guided_backprop" else GuidedGradCam(separate, separate.conv2)
    options = {} if name == "guided_backprop" else {"interpolate_mode": "bilinear"}
    expected = method.attribute(images.clone().requires_grad_(), target=classes, **options)
    assert maps.std() > 0
    torch.testing.assert_close(maps, expected.sum(1).detach())


@pytest.mark.parametrize("name", ["guided_backprop", "guided_gradcam"])
def test_guided_methods_need_a_relu(name):
    with pytest.raises(ExplainerError, match=f"'{name}': Linear has no ReLU"):
        create_explainer(name).check(wrap(Linear(), 32, 5))


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, 2, 1),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d((3, 2), (1, 2), (1, 0), dilation=(2, 1)),
    ],
)
def test_max_pooling_by_relu_is_max_pooling(pool):
    images = torch.randn(2, 3, 13, 16)
    with Counted() as counted:
        found = pool(images)
    assert counted.applied > 0
    torch.testing.assert_close(found, pool(images))


def test_occlusion_of_a_sum_is_the_windows_sum(images, classes):
    classifier = wrap(Sum(), 32, 5)
    maps = create_explainer("occlusion", windows=8, overlap=1)(classifier, images, classes)
    difference = (images - black(classifier, images)).sum(1, keepdim=True)
    windows = 16 * F.avg_pool2d(difference, 4)  # 4x4 windows side by side
    torch.testing.assert_close(maps, F.interpolate(windows, scale_factor=4.0)[:, 0], rtol=1e-4, atol=1e-2)


def test_overlapping_windows_are_averaged(images, classes):
    classifier = wrap(Sum(), 32, 5)
    maps = create_explainer("occlusion", windows=16, overlap=2)(classifier, images, classes)
    difference = (images - black(classifier, images)).sum(1, keepdim=True)
    windows = 4 * F.avg_pool2d(difference, 2, 1)  # 2x2 windows one pixel apart; a pixel inside is in four
    torch.testing.assert_close(maps[:, 1:-1, 1:-1], F.avg_pool2d(windows, 2, 1)[:, 0], rtol=1e-4, atol=1e-2)


def test_feature_ablation_gives_a_region_what_it_takes_away(classes):
    from skimage.segmentation import slic

    classifier = wrap(Sum(), 32, 5)
    photograph = torch.zeros(1, 3, 32, 32)
    photograph[:, 0, :, :16], photograph[:, 2, :, 16:] = 1, 0.5  # red, then dark blue
    images = classifier.preprocess.normalise(photograph)
    maps = create_explainer("feature_ablation", segments=6)(classifier, images, classes[:1])
    regions = torch.from_numpy(slic(photograph[0].numpy(), 6, compactness=10.0, channel_axis=0))
    assert 2 <= len(regions.unique()) <= 8
    difference = (images - black(classifier, images))[0].sum(0)
    for region in regions.unique():
        inside = regions == region
        expected = difference[inside].sum().expand(int(inside.sum()))
        torch.testing.assert_close(maps[0][inside], expected, rtol=1e-4, atol=0.1)
