"""Stages, taps and embeddings of networks of all families, and the methods on pairs of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from distill.data.splits import Classes
from distill.methods import create_method
from distill.methods.taps import TapMethod
from distill.recipe.networks import Student
from distill.training.networks import build_student, tap_notes, taps_of
from distill.training.observed import Observed
from distill.training.stage_maps import stages_of
from distill.training.trunk import Trunk
from xkd_eval.classifiers.classifier import Classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.classifiers.proof.places import grid_of
from xkd_eval.errors import XkdError

CLASSES = 5


class Plain(nn.Sequential):
    """Maps of 16, 8 and 4 places a side; nothing says so."""

    def __init__(self, num_classes=CLASSES):
        layers = []
        for inputs, outputs in ((3, 4), (4, 6), (6, 8)):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(2)]
        super().__init__(*layers[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, num_classes))


NETWORKS = {
    f"py:{__name__}:Plain": (16, {}, ["2", "6", "10"]),
    "resnet8": (16, {"widths": [2, 2, 4, 4]}, ["layer1", "layer2", "layer3"]),
    "resnet20": (16, {"widths": [2, 2, 4, 4]}, ["layer1", "layer2", "layer3"]),
    "timm/resnet18": (64, {}, ["layer1", "layer2", "layer3", "layer4"]),
    "timm/convnext_atto": (64, {}, [f"stages.{number}" for number in range(4)]),
    "timm/vit_tiny_patch16_224": (64, {"img_size": 64}, [f"blocks.{number}" for number in (2, 5, 8, 11)]),
    "timm/swin_tiny_patch4_window7_224": (
        64,
        {"img_size": 64, "depths": [1, 1, 1, 1], "embed_dim": 12},
        [f"layers.{number}" for number in range(4)],
    ),
    "torchvision/resnet18": (64, {}, ["layer1", "layer2", "layer3", "layer4"]),
    "torchvision/mobilenet_v3_small": (64, {}, ["features.0", "features.1", "features.3", "features.8", "features"]),
    "torchvision/shufflenet_v2_x0_5": (64, {}, ["conv1", "maxpool", "stage2", "stage3", "conv5"]),
}


def observed_of(architecture: str, needs: frozenset, methods=(), whose="student") -> Observed:
    """Student or teacher, as a training makes it."""
    size, arguments, _ = NETWORKS[architecture]
    preprocess = {"size": [size, size]}
    recipe = Student(architecture=architecture, arguments=arguments, preprocess=preprocess)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        classifier = build_student(recipe, Classes(CLASSES), needs).classifier
    return Observed(classifier, needs, taps_of(methods, classifier, whose))


def run(observed: Observed, batch: int = 3):
    """A pass on noise, in training mode."""
    height, width = observed.classifier.preprocess.size
    generator = torch.Generator().manual_seed(1)
    return observed.train()(torch.randn(batch, 3, height, width, generator=generator))


@pytest.mark.parametrize("architecture", NETWORKS)
def test_every_network_has_stages_as_maps_and_an_embedding(architecture):
    at = create_method("at")
    observed = observed_of(architecture, frozenset({"taps", "embedding"}), [at])
    passed = run(observed)
    assert list(passed.taps) == list(at.student_stages) == NETWORKS[architecture][2]
    sides = [tap.shape[2] for tap in passed.taps.values()]
    assert all(tap.ndim == 4 and tap.shape[2] == tap.shape[3] > 1 for tap in passed.taps.values())
    assert sides == sorted(sides, reverse=True)
    head = [module for module in observed.classifier.model.modules() if isinstance(module, nn.Linear)][-1]
    torch.testing.assert_close(head(passed.embedding()), passed.logits, rtol=1e-3, atol=1e-4)


class Tokens(nn.Module):
    """Two class tokens and one for each 4x4 patch: its mean brightness, in the order of the rows."""

    def __init__(self, num_classes=CLASSES):
        super().__init__()
        self.embed = nn.Conv2d(3, 2, 4, 4, bias=False)
        self.blocks = nn.ModuleList([nn.Linear(2, 2, bias=False) for _ in range(4)])
        self.head = nn.Linear(2, num_classes)
        nn.init.constant_(self.embed.weight, 1 / 48)
        for block in self.blocks:
            nn.init.eye_(block.weight)

    def forward(self, images):
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([torch.full_like(tokens[:, :2], 9.0), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1))


def test_tokens_are_the_map_of_their_patches():
    network, size = Tokens(), (8, 16)
    trunk = Trunk(network, Preprocess(size=size))
    stages = stages_of(network, trunk)
    assert [tap.path for tap in stages] == [f"blocks.{number}" for number in range(4)]
    assert {(tap.grid, tap.prefix) for tap in stages} == {((2, 4), 2)}
    images = torch.rand(3, 3, *size)
    observed = Observed(Classifier(network, Preprocess(size=size), name="n", num_classes=5), frozenset(), stages)
    expected = F.avg_pool2d(images.mean(1, keepdim=True), 4).expand(-1, 2, -1, -1)
    torch.testing.assert_close(observed(images).taps["blocks.3"], expected)


def test_a_network_is_left_as_it_was():
    network = Plain().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    Trunk(network, Preprocess(size=(16, 16)))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training and network[2].inplace and not network[2]._forward_hooks


@pytest.mark.parametrize(
    ("count", "size", "grid"),
    [(17, (64, 64), (4, 4)), (16, (64, 64), (4, 4)), (10, (8, 16), (2, 4)), (9, (64, 64), (3, 3)), (2, (64, 64), None)],
)
def test_a_grid_by_the_images_proportions(count, size, grid):
    assert grid_of(count, size) == grid


class Adds(nn.Module):
    """The output of `norm` is overwritten by the shortcut."""

    def __init__(self, num_classes=CLASSES):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, num_classes)

    def forward(self, images):
        first = self.conv(images)
        out = self.norm(first)
        out += first
        return self.head(out.mean((2, 3)))


def test_a_tap_is_what_its_module_gave_also_where_it_is_overwritten():
    network, preprocess = Adds().eval(), Preprocess(size=(8, 8))
    tap = Trunk(network, preprocess).tap("norm")
    assert tap.overwritten and not Trunk(network, preprocess).tap("conv").overwritten
    observed = Observed(Classifier(network, preprocess, name="n", num_classes=5), frozenset(), [tap])
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(observed(images).taps["norm"], network.norm(network.conv(images)))


def test_nothing_of_a_shortcut_is_a_stage():
    """Beside each of the maps inside a block another path leads to the images."""
    network = Adds()
    assert [tap.path for tap in stages_of(network, Trunk(network, Preprocess(size=(8, 8))))] == ["conv"]


ACROSS = (
    *("at", "nst", "fitnet", "ofd", "reviewkd", "norm", "vitkd"),
    *("sp", "rkd", "pkt", "crd", "e2kd", "explanation_kd"),
)
PAIRS = [
    ("resnet8", "timm/convnext_atto"),
    ("timm/convnext_atto", "timm/vit_tiny_patch16_224"),
    ("timm/vit_tiny_patch16_224", "resnet8"),
]


@pytest.mark.parametrize(("student", "teacher"), PAIRS)
@pytest.mark.parametrize("name", ACROSS)
def test_methods_teach_across_families_or_refuse_in_a_sentence(passes, name, student, teacher):
    method = create_method(name, **({"negatives": 8} if name == "crd" else {}))
    method.see_labels(torch.arange(20) % 3)
    try:
        own, other = passes(student, method, "student"), passes(teacher, method, "teacher")
    except XkdError as error:
        assert name == "e2kd" and "vit" in student + teacher and "has no CAM head" in str(error)
        return
    method.setup(own, other, 20)
    parameters = list(passes.networks[student].parameters())
    for parameter in parameters:
        parameter.grad = None
    loss = sum(method(own, other, torch.tensor([0, 1, 2]), torch.arange(3)).values())
    loss.backward()
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    assert loss.isfinite() and loss != 0 and any(gradient.any() for gradient in gradients)
    if isinstance(method, TapMethod):
        assert len(method.paired) == (1 if name in ("fitnet", "norm") else 3 if "resnet8" in (student, teacher) else 4)
        note, *measured = tap_notes([method])
        assert note.startswith(f"{name}: compares {method.paired[0][0]} with {method.paired[0][1]}")
        assert bool(measured) == (name == "ofd" and teacher != "resnet8")
        assert not measured or measured[0].startswith(f"ofd: margins of {method.paired[0][1]}, ")


@pytest.fixture(scope="module")
def passes():
    return Passes()


class Passes:
    """Architecture and method -> its pass; a network is made once for the same needs."""

    def __init__(self):
        self._made = {}
        self.networks = {}

    def __call__(self, architecture, method, whose):
        maps = getattr(method, f"{whose}_maps", None)
        key = architecture, method.requires, maps, whose
        if key not in self._made:
            self._made[key] = observed_of(architecture, method.requires, [method], whose), method
        observed, told = self._made[key]
        if isinstance(method, TapMethod):
            setattr(method, f"{whose}_stages", getattr(told, f"{whose}_stages"))
            method.teacher_norms = told.teacher_norms if whose == "teacher" else method.teacher_norms
        self.networks[architecture] = observed.classifier.model
        return run(observed)


def test_e2kd_reaches_the_weights_through_the_map_before_convnexts_norm():
    method = create_method("e2kd")
    observed = observed_of("timm/convnext_atto", method.requires)
    own, other = run(observed), run(observed_of("resnet8", method.requires))
    assert own.source is not None and own.source.shape == own.features.shape
    method(own, other, torch.tensor([0, 1, 2]))["e2kd"].backward()
    gradients = [parameter.grad for parameter in observed.classifier.model.stages.parameters()]
    assert any(gradient is not None and gradient.any() for gradient in gradients)


def test_sp_compares_maps_where_both_have_one():
    sp = create_method("sp")
    own, other = (run(observed_of(name, sp.requires)) for name in ("resnet8", f"py:{__name__}:Plain"))
    from distill.methods.sp import sp_loss

    labels = torch.tensor([0, 1, 2])
    torch.testing.assert_close(sp(own, other, labels)["sp"], sp_loss(own.features, other.features))
    vit = run(observed_of("timm/vit_tiny_patch16_224", sp.requires))
    assert vit.features is None
    torch.testing.assert_close(sp(own, vit, labels)["sp"], sp_loss(own.embedding(), vit.pooled))


@pytest.mark.parametrize(
    ("path", "message"),
    [("13", r"student_taps: '13' puts out a float32 tensor \(2, 5\); expected a map"), ("1x", "student has no module")],
)
def test_a_tap_that_is_no_map_is_one_line(path, message):
    with pytest.raises(XkdError, match=message):
        observed_of(f"py:{__name__}:Plain", frozenset({"taps"}), [create_method("at", student_taps=[path])])


class Distances(nn.Module):
    """No layer puts out its logits."""

    def __init__(self, num_classes=CLASSES):
        super().__init__()
        self.conv, self.proxies = nn.Conv2d(3, 4, 3), nn.Parameter(torch.randn(num_classes, 4))

    def forward(self, images):
        return -torch.cdist(self.conv(images).mean((2, 3)), self.proxies)


def test_a_network_without_a_linear_head_is_refused_for_its_embedding():
    with pytest.raises(XkdError, match=r"student: \S+Distances has no embedding, which a method needs: no Linear"):
        recipe = Student(architecture=f"py:{__name__}:Distances", preprocess={"size": [8, 8]})
        build_student(recipe, Classes(CLASSES), frozenset({"embedding"}))


def test_a_compiled_network_has_the_same_taps():
    at = create_method("at")
    observed = observed_of(f"py:{__name__}:Plain", frozenset({"taps", "embedding"}), [at]).eval()
    plain = run_eval(observed)
    observed.compile(backend="eager")
    compiled = run_eval(observed)
    torch.testing.assert_close(compiled.taps["6"], plain.taps["6"])
    torch.testing.assert_close(compiled.embedding(), plain.embedding())


def run_eval(observed: Observed):
    generator = torch.Generator().manual_seed(1)
    return observed(torch.randn(2, 3, *observed.classifier.preprocess.size, generator=generator))
