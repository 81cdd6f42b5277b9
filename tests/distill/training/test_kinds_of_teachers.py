"""Whatever the evaluator reads as a teacher: it teaches what the network would, or is refused by what it lacks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from distill.methods import create_method
from distill.students.export import export
from distill.training.networks import taps_of
from distill.training.observed import Observed
from distill.training.setup import set_up
from distill.training.store import store_answers
from tests.classifiers.graphs.files import write_onnx
from tests.distill.conftest import EXP_KD, KD
from xkd_eval import load_classifier, open_dataset
from xkd_eval.errors import XkdError

INPUT = "size=32,mean=0.4,0.3,0.2,std=0.3,0.2,0.1,channel_order=BGR"
"""Of the session's teacher; a function's network does not say its own."""

made: dict[str, nn.Module] = {}
"""What the functions below return."""


class Dict(nn.Module):
    """Gives its logits by name, beside something else."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        logits = self.network(images)
        return {"embedding": logits[:, :4], "logits": logits}


def half():
    return copy.deepcopy(made["network"]).half()


def parallel():
    return nn.DataParallel(copy.deepcopy(made["network"]))


def compiled():
    return torch.compile(copy.deepcopy(made["network"]))


def masked():
    network = copy.deepcopy(made["network"])
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            prune.l1_unstructured(module, "weight", amount=0.1)
    return network


def pruned():
    """The same, its masks multiplied in."""
    network = masked()
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d):
            prune.remove(module, "weight")
    return network


def by_name():
    return Dict(copy.deepcopy(made["network"]))


def dynamic():
    return torch.ao.quantization.quantize_dynamic(copy.deepcopy(made["network"]), {nn.Linear}, dtype=torch.qint8)


def five_channels():
    network = copy.deepcopy(made["network"])
    network.conv1 = nn.Conv2d(5, network.conv1.out_channels, 3, padding=1, bias=False)
    return network


def scripted_activation():
    """The network but for one activation, which nobody sees into."""
    network = copy.deepcopy(made["network"])
    network.layer3.append(torch.jit.script(nn.ReLU(inplace=True)))  # nothing there is below zero
    return network


def scripted():
    layers = [nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
    return torch.jit.script(nn.Sequential(*layers))


@pytest.fixture(scope="module", autouse=True)
def network(teacher):
    made["network"] = load_classifier(teacher).model
    yield
    made.clear()


@pytest.fixture(scope="module")
def files(teacher, cifar10, tmp_path_factory):
    """The teacher as graphs."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("graphs")
    export(teacher, folder / "float.onnx")
    export(teacher, folder / "int8.onnx", quantise="int8", calibration=open_dataset(cifar10))
    export(teacher, folder / "float.xml")
    return folder


def function(name: str) -> dict[str, str]:
    return {"model": f"py:{__name__}:{name},{INPUT}"}


def first_losses(recipe, tmp_path):
    setup = set_up(recipe, "cpu", tmp_path)
    batch = next(iter(setup.train.batches(0, 0)))
    passes = setup.teachers(batch)
    losses = setup.wrapped(setup.normalise(batch.pixels), passes, batch.labels, batch.indices, [1.0] * 2)
    return {name: value.item() for name, value in losses.items()}


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        ("float.onnx", 1e-4),
        ("float.xml", 1e-4),
        ("int8.onnx", 0.05),
        ("half", 1e-2),
        ("parallel", 1e-5),
        ("compiled", 1e-5),
        ("masked", 1e-5),
        ("by_name", 1e-5),
        ("dynamic", 0.02),
    ],
)
def test_logits_and_maps_teach_what_the_network_would(recipe_of, tmp_path, files, teacher, kind, tolerance):
    losses = [KD[1], EXP_KD[1]]
    given = {"model": str(files / kind)} if "." in kind else function(kind)
    plain = function("pruned") if kind == "masked" else {"model": str(teacher)}
    expected = first_losses(recipe_of(losses=losses, teacher=plain), tmp_path)
    found = first_losses(recipe_of(losses=losses, teacher=given), tmp_path)
    assert found == pytest.approx(expected, rel=tolerance)


def test_the_one_map_of_a_graph_is_compared_beside_its_cam(recipe_of, tmp_path, files, teacher):
    """Losses on maps on the way used to take its proof away."""
    at = {"method": "at", "student_taps": ["layer3"]}
    graph = recipe_of(losses=[EXP_KD[1], at], teacher={"model": str(files / "float.onnx")})
    named = [EXP_KD[1], {**at, "teacher_taps": ["layer3"]}]
    expected = first_losses(recipe_of(losses=named, teacher={"model": str(teacher)}), tmp_path)
    assert first_losses(graph, tmp_path) == pytest.approx(expected, rel=1e-4)


def test_a_scripted_part_hides_itself_alone(recipe_of, tmp_path, teacher):
    at = {"method": "at", "student_taps": ["layer2"], "teacher_taps": ["layer2"]}
    expected = first_losses(recipe_of(losses=[KD[1], at], teacher={"model": str(teacher)}), tmp_path)
    given = function("scripted_activation")
    assert first_losses(recipe_of(losses=[KD[1], at], teacher=given), tmp_path) == pytest.approx(expected, rel=1e-5)
    hidden = "layer3.1"
    with pytest.raises(XkdError, match=rf"^teacher_taps: '{hidden}' is TorchScript, which does not show what it puts"):
        set_up(recipe_of(losses=[KD[1], {**at, "teacher_taps": [hidden]}], teacher=given), "cpu", tmp_path)


def test_a_graph_of_one_logit_shows_its_map(tmp_path):
    pytest.importorskip("onnxruntime")
    layers = [nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1)]
    classifier = load_classifier(write_onnx(nn.Sequential(*layers), tmp_path / "one.onnx", 32))
    assert classifier.num_classes == 2
    (tap,) = taps_of([create_method("at")], classifier, "teacher")
    assert (tap.path, tap.layout, tap.grid) == ("network.features", "NCHW", (15, 15))
    observed = Observed(classifier.private(), frozenset({"logits", "taps"}), (tap,))
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(observed(images).taps[tap.path], layers[1](layers[0](images)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "method", "message"),
    [
        ("float.onnx", "e2kd", "a method needs the gradient of a logit, and float gives none: what it computes is not"),
        ("dynamic", "e2kd", r"a method needs the gradient of a logit, and \S+ gives one that is zero everywhere"),
        ("five_channels", "kd", r"\S+ takes images of 5 channels; expected 3, RGB, or 1, their luminance"),
        ("scripted", "at", r"\S+ is TorchScript, which shows no maps on the way; leave out the losses on them"),
        ("scripted", "exp_kd", r"\S+ has no CAM head, which a method needs: TorchScript lets nobody see its layers"),
    ],
    ids=["a graph", "whole numbers", "channels", "maps of TorchScript", "the map of TorchScript"],
)
def test_what_a_teacher_lacks_is_said(recipe_of, tmp_path, files, kind, method, message):
    given = {"model": str(files / kind)} if "." in kind else function(kind)
    recipe = recipe_of(losses=[{"method": "ce"}, {"method": method}], teacher=given)
    with pytest.raises(XkdError, match=f"^teacher: {message}") as error:
        set_up(recipe, "cpu", tmp_path)
    assert "\n" not in str(error.value)


def test_a_graphs_answers_are_stored(recipe_of, tmp_path, files, teacher):
    stored = [
        store_answers(
            recipe_of(losses=KD, teacher={"model": str(model)}),
            tmp_path / name,
            overrides=["data.rounds=1"],
            top_k="all",
            maps=True,
            device="cpu",
        )
        for name, model in (("graph", files / "float.onnx"), ("network", teacher))
    ]
    for part in ("values", "maps"):
        (ours,), (theirs,) = (answers.read(0, range(9), part) for answers in stored)
        torch.testing.assert_close(*(torch.from_numpy(one).float() for one in (ours, theirs)), rtol=0.02, atol=0.02)
