"""Students that start from weights, parts of them frozen; networks of one's own."""

from __future__ import annotations

import sys

import pytest
import timm
import torch

from distill.data.splits import Classes
from distill.recipe.networks import Student
from distill.training.networks import build_student
from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import assert_same_bits, weights_of
from xkd_eval import Preprocess, load_classifier
from xkd_eval.classifiers.architectures import build
from xkd_eval.classifiers.checkpoint import Checkpoint, save_checkpoint
from xkd_eval.classifiers.sources import build_architecture
from xkd_eval.errors import XkdError

WIDTHS = {"widths": [4, 4, 4, 8]}
FREEZE = ["conv1", "bn1", "layer1", "layer2.0.conv?.weight", "layer2.0.bn1.*"]


def student(weights, classes=10, **changes):
    values = {"architecture": "resnet8", "arguments": WIDTHS, "preprocess": {"size": [16, 16]}}
    recipe = Student(**values | {"weights": str(weights)} | changes)
    return build_student(recipe, Classes(classes), frozenset())


def test_weights_of_another_shortcut_say_so(tmp_path):
    path = tmp_path / "a.pt"
    torch.save(build("resnet8", 7, shortcut="A", **WIDTHS).state_dict(), path)
    with pytest.raises(XkdError, match=r"does not fit ResNet.*they look like student\.arguments=\{'shortcut': 'A'\}"):
        student(path)
    assert student(path, arguments=WIDTHS | {"shortcut": "A"}).notes


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A state dict of 7 classes, wrapped as training scripts do."""
    torch.manual_seed(3)
    network = build("resnet8", 7, **WIDTHS)
    path = tmp_path_factory.mktemp("weights") / "seven.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, path)
    return path


def test_a_head_of_other_classes_is_dropped_and_said(weights):
    built = student(weights)
    there = {name.removeprefix("module."): value for name, value in torch.load(weights)["state_dict"].items()}
    own = built.classifier.model.state_dict()
    assert own["linear.weight"].shape == (10, 8)
    assert all(torch.equal(value, there[name]) for name, value in own.items() if not name.startswith("linear"))
    (note,) = built.notes
    assert (
        "its head of 7 classes was dropped, and one of 10 starts from random weights (linear.weight, linear.bi" in note
    )
    (note,) = student(weights, classes=7).notes
    assert note.startswith("student.weights: all ") and str(weights) in note


def test_a_student_of_the_literature_among_others(tmp_path):
    """Read by its published names, beside a teacher of the same architecture; another part is another origin."""
    from distill.runs.origin import start_digest

    networks = {part: build("resnet8", 7, **WIDTHS).state_dict() for part in ("student", "teacher")}
    theirs = {
        f"module.{part}.{name.replace('shortcut', 'downsample').replace('linear', 'fc')}": tensor
        for part, state in networks.items()
        for name, tensor in state.items()
    }
    torch.save({"model": theirs, "epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"^student\.weights: .* 2 networks .*, under module.student, module.teacher"):
        student(tmp_path / "w.pth", classes=7)
    path = f"{tmp_path / 'w.pth'}#module.student"
    built = student(path, classes=7)
    assert torch.equal(built.classifier.model.linear.weight, networks["student"]["linear.weight"])
    assert built.notes == (
        f"student.weights: all 56 tensors are those of {path}",
        "student.weights: paired by the names that RepDistiller and mdistiller give to the same tensors",
    )
    digests = {start_digest(Student(architecture="resnet8", weights=name)) for name in (path, path[:-7] + "teacher")}
    assert len(digests) == 2


def test_a_backbone_with_a_projector_beside(tmp_path):
    state = {name: value for name, value in build("resnet8", 7, **WIDTHS).state_dict().items() if "linear" not in name}
    content = {f"module.backbone.{name}": value for name, value in state.items()}
    torch.save({"state_dict": content | {"module.projector.0.weight": torch.ones(3)}}, tmp_path / "w.pth")
    first, second = student(tmp_path / "w.pth").notes
    assert "it has no head, and one of 10 starts from random weights (linear.weight, linear.bias)" in first
    assert second == ("student.weights: 1 key beside the network's was left out (module.projector.0.weight)")
    torch.save({"state_dict": content | {"module.backbone.layer4.0.conv1.weight": torch.ones(3)}}, tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"^student\.weights: .* 1 unexpected \(layer4.0.conv1.weight\)"):
        student(tmp_path / "w.pth")


def test_a_head_of_as_many_other_classes_is_dropped_and_said(tmp_path):
    """Rows of other classes, or of the same in another order, would be taken for the student's."""
    network = build("resnet8", 3, **WIDTHS)
    names, ids = ("a cat", "dog", "owl, strix"), ("n02123045", "n02084071", "n01621127")
    arguments = {"num_classes": 3, **WIDTHS}
    saved = Checkpoint("resnet8", arguments, network.state_dict(), Preprocess(size=(16, 16)), names, ids)
    save_checkpoint(saved, tmp_path / "animals.pt")

    def built(*names, ids=None):
        recipe = Student(architecture="resnet8", arguments=WIDTHS, weights=str(tmp_path / "animals.pt"))
        return build_student(recipe, Classes(3, names or None, ids), frozenset())

    for others in (("dog", "a cat", "owl"), ("oak", "elm", "ash"), ("a cat", "dog", "elk")):
        made = built(*others)
        assert "which are others or in another order ('a cat', 'dog', 'owl, strix', ...), was dropped" in made.notes[0]
        assert not torch.equal(made.classifier.model.linear.weight, network.linear.weight)
        assert torch.equal(made.classifier.model.conv1.weight, network.conv1.weight)
    same = built("A_cat", "dog", "strix")
    assert same.notes[0].startswith("student.weights: all ")
    assert torch.equal(same.classifier.model.linear.weight, network.linear.weight)
    assert built(ids=ids).notes[0].startswith("student.weights: all ")
    assert "another order ('n02123045', 'n02084071', 'n01621127', ...), was dropped" in built(ids=ids[::-1]).notes[0]


def test_a_file_without_a_head_is_said(weights, tmp_path):
    state = {name: value for name, value in build("resnet8", 7, **WIDTHS).state_dict().items() if "linear" not in name}
    torch.save(state, tmp_path / "backbone.pt")
    (note,) = student(tmp_path / "backbone.pt").notes
    assert "it has no head, and one of 10 starts from random weights (linear.weight, linear.bias)" in note


def test_a_student_of_this_project_brings_its_input_convention(teacher):
    built = student(teacher, arguments={"widths": [16, 16, 32, 32]})
    assert built.classifier.preprocess.mean == (0.4, 0.3, 0.2) and built.classifier.preprocess.size == (16, 16)
    assert "student.preprocess: as " in built.notes[1] and "mean=(0.4, 0.3, 0.2)" in built.notes[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": "none.pt"}, r"student\.weights: 'none.pt' does not exist"),
        (
            {"arguments": {"widths": [4, 4, 8, 8]}},
            r"student\.weights: .* does not fit ResNet: of \d+ tensors .* another sh",
        ),
        (
            {"architecture": "vgg8", "arguments": {}},
            r"student\.weights: .* \d+ missing .* \d+ unexpected \(conv1.weight",
        ),
        ({"weights": "pretrained"}, "student.weights: resnet8 has no published weights; expected timm/NAME"),
        ({"freeze": ["layr1"]}, r"student\.freeze: no module or parameter is called 'layr1'; nearest: layer1"),
        ({"freeze": ["*"]}, r"student\.freeze: all \d+ parameters would be frozen"),
    ],
)
def test_what_does_not_fit_is_one_line(weights, changes, message):
    with pytest.raises(XkdError, match=f"^{message}") as error:
        student(**{"weights": weights} | changes)
    assert "\n" not in str(error.value)


def test_pretrained_weights_are_those_of_the_library(monkeypatch):
    made = build_architecture("timm/resnet18", {"num_classes": 1000}, "")
    create = timm.create_model
    library = lambda name, pretrained, **given: made if pretrained else create(name, **given)  # noqa: E731
    monkeypatch.setattr("timm.create_model", library)
    monkeypatch.setattr("xkd_eval.classifiers.sources.why_unreachable", str)
    built = student("pretrained", architecture="timm/resnet18", arguments={}, preprocess={"size": [32, 32]})
    assert torch.equal(built.classifier.model.layer1[0].conv1.weight, made.layer1[0].conv1.weight)
    assert "pretrained timm/resnet18; its head of 1000 classes was dropped" in built.notes[0]
    assert built.classifier.preprocess.crop_fraction == 0.95 and "crop_fraction=0.95" in built.notes[1]


def test_pretrained_without_a_network_is_one_line(monkeypatch):
    create = timm.create_model

    def offline(name, pretrained, **given):
        if pretrained:
            raise OSError("no route to host")
        return create(name, **given)

    monkeypatch.setattr("timm.create_model", offline)
    with pytest.raises(XkdError, match=r"^student\.weights: the pretrained weights of timm/resnet18 cannot be downl"):
        student("pretrained", architecture="timm/resnet18", arguments={})


def frozen_recipe(recipe_of, **changes):
    student = {"architecture": "resnet8", "arguments": WIDTHS, "freeze": FREEZE, "preprocess": {"size": [16, 16]}}
    return recipe_of(student=student, **changes)


def is_frozen(name):
    return name.startswith(("conv1", "bn1", "layer1", "layer2.0.conv", "layer2.0.bn1"))


@pytest.mark.parametrize("ema", [None, 0.5])
def test_frozen_weights_and_statistics_stay_to_the_bit(recipe_of, tmp_path, ema):
    recipe = frozen_recipe(recipe_of, ema_decay=ema)
    before = {name: value.clone() for name, value in set_up(recipe, "cpu", tmp_path).student.model.state_dict().items()}
    train(recipe, tmp_path / "run", device="cpu")
    after = weights_of(tmp_path / "run")
    frozen = [name for name in before if is_frozen(name)]
    assert "layer1.0.bn2.running_var" in frozen and "layer2.0.bn1.running_mean" in frozen
    assert_same_bits({name: after[name] for name in frozen}, {name: before[name] for name in frozen})
    assert not [name for name in before if not is_frozen(name) and torch.equal(after[name], before[name])]


def test_what_is_frozen_stays_so_after_a_resumption(recipe_of, tmp_path):
    recipe = frozen_recipe(recipe_of)
    train(recipe, tmp_path / "whole", device="cpu")

    def stop(point):
        if point.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(recipe, tmp_path / "run", device="cpu", progress=stop)
    train(recipe, tmp_path / "run", device="cpu", resume=True)
    assert_same_bits(weights_of(tmp_path / "run"), weights_of(tmp_path / "whole"))


def test_other_weights_under_the_same_name_are_noticed(recipe_of, tmp_path):
    path = tmp_path / "start.pt"
    torch.save(build("resnet8", 10, **WIDTHS).state_dict(), path)
    values = {"architecture": "resnet8", "arguments": WIDTHS, "weights": str(path), "preprocess": {"size": [16, 16]}}
    recipe = recipe_of(student=values, epochs=1)
    result = train(recipe, tmp_path / "run", device="cpu").result
    assert result["notes"][0].startswith("student.weights: all ")
    assert result["origin"]["recipe"]["student"]["weights"] == "file"
    train(recipe, tmp_path / "run", device="cpu")  # as it is
    torch.save(build("resnet8", 10, **WIDTHS).state_dict(), path)
    with pytest.raises(XkdError, match=r"a student that starts from other weights; give the `student\.weights` that"):
        train(recipe, tmp_path / "run", device="cpu")


OWN = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, inputs=3):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(inputs, 4, 3), nn.Linear(4, num_classes)
    def forward(self, images):
        return self.fc(self.conv(images).relu().mean((2, 3)))

class Softmax(Net):
    def forward(self, images):
        return super().forward(images).softmax(1)

def ten():
    return Net(10)

def seven():
    return Net(7)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "networks_of_mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    yield
    sys.modules.pop("networks_of_mine", None)


@pytest.mark.usefixtures("own")
def test_a_network_of_the_working_directory_is_trained_and_loaded(recipe_of, tmp_path):
    values = {"architecture": "py:networks_of_mine:ten", "preprocess": {"size": [16, 16]}}
    train(recipe_of(student=values, epochs=1), tmp_path / "run", device="cpu")
    assert load_classifier(tmp_path / "run" / "student.pt").num_classes == 10


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("seven", {}, r"student: py:networks_of_mine:seven gives a float32 tensor \(2, 7\); expected"),
        ("Softmax", {}, "student: py:networks_of_mine:Softmax gives probabilities, which sum to 1; expected logits"),
        ("Net", {"inputs": 1}, "student: py:networks_of_mine:Net takes images of 1 channels; expected 3, RGB"),
        ("Net", {"input": 1}, "py:networks_of_mine:Net: unknown argument 'input'; nearest: inputs"),
    ],
)
def test_a_network_of_ones_own_that_does_not_fit_is_one_line(recipe_of, tmp_path, name, arguments, message):
    values = {"architecture": f"py:networks_of_mine:{name}", "arguments": arguments, "preprocess": {"size": [16, 16]}}
    with pytest.raises(XkdError, match=f"^{message}"):
        set_up(recipe_of(student=values), "cpu", tmp_path)


def test_arguments_of_a_teacher_reach_its_architecture(tmp_path):
    made = build_architecture("timm/vit_tiny_patch16_224", {"num_classes": 10, "img_size": 32}, "")
    torch.save(made.state_dict(), tmp_path / "vit.pt")
    given = {"weights": tmp_path / "vit.pt", "arguments": {"img_size": 64}}
    loaded = load_classifier("timm/vit_tiny_patch16_224", **given)
    assert loaded.preprocess.size == (64, 64) and loaded.model.pos_embed.shape == (1, 17, 192)
    assert torch.equal(loaded.model.blocks[3].mlp.fc1.weight, made.blocks[3].mlp.fc1.weight)
    with pytest.raises(XkdError, match="arguments: img_size found, and embedded/teacher says its own; leave them out"):
        load_classifier("embedded/teacher", arguments={"img_size": 64})
    with pytest.raises(XkdError, match="img_sise"):
        load_classifier("timm/vit_tiny_patch16_224", **given | {"arguments": {"img_sise": 64}})
