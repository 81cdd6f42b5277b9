"""A network among a file's tensors: found whole under any prefix, with what lies beside it listed, or refused."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from xkd_eval.classifiers import load_classifier
from xkd_eval.classifiers.architectures import build
from xkd_eval.classifiers.weights.loading import load_weights
from xkd_eval.errors import XkdError

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
SEEDS = range(12)


def network(seed: int = 0, classes: int = 2) -> nn.Module:
    torch.manual_seed(seed)
    layers = OrderedDict(
        conv1=nn.Conv2d(3, 4, 3), bn1=nn.BatchNorm2d(4), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten()
    )
    model = nn.Sequential(layers | {"layer1": nn.Linear(4, 5), "fc": nn.Linear(5, classes)})
    model.bn1.running_mean.uniform_(-1, 1)
    return model.eval()


def prefixed(prefix: str, state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state_dict.items()}


def loaded(content: object, path: Path, part: str = "") -> tuple[nn.Module, tuple[str, ...]]:
    torch.save(content, path)
    model = network(seed=99)
    notes = load_weights(model, f"{path}{part}")
    return model, notes


def assert_same(model: nn.Module, other: nn.Module) -> None:
    assert torch.equal(model(IMAGES), other(IMAGES))


PREFIXES = ["", "module.", "module.student.", "backbone.", "encoder.", "net.", "_forward_module.model.", "a.b.c.d."]
BESIDE = {
    "criterion.weight": torch.ones(7),
    "criterion.bias": torch.ones(7),
    "teacher.fc.weight": torch.ones(9, 5),
    "projector.0.weight": torch.ones(3, 3),
    "optimizer.momentum": torch.ones(2),
    "ema.conv1.weight": torch.full((1,), float("inf")),  # what is left out may hold anything
}


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix_with_others_beside(tmp_path, prefix):
    trained = network()
    model, notes = loaded(prefixed(prefix, trained.state_dict()) | BESIDE, tmp_path / "w.pth")
    assert_same(model, trained)
    assert notes == (f"weights: 6 keys beside the network's were left out ({', '.join(BESIDE)})",)
    assert loaded(prefixed(prefix, trained.state_dict()), tmp_path / "w.pth")[1] == ()


def test_what_is_many_is_listed_by_its_module(tmp_path):
    trained, other = network(), {f"conv{n}.weight": torch.ones(1) for n in range(40)}
    content = prefixed("module.student.", trained.state_dict()) | prefixed("module.teacher.", other)
    model, notes = loaded(content | {"module.loss.weight": torch.ones(1)}, tmp_path / "w.pth")
    assert_same(model, trained)
    assert notes == ("weights: 41 keys beside the network's were left out (module.teacher.* (40), module.loss.weight)",)


def random_name(rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghij_", k=rng.randint(1, 8))) + rng.choice(["q", "z"])


@pytest.mark.parametrize("seed", SEEDS)
def test_random_prefixes_and_foreign_keys_change_nothing(tmp_path, seed):
    rng, trained = random.Random(seed), network(seed)
    prefix = "".join(f"{random_name(rng)}." for _ in range(rng.randint(0, 4)))
    content = list(prefixed(prefix, trained.state_dict()).items())
    for _ in range(rng.randint(1, 9)):
        name = "".join(f"{random_name(rng)}." for _ in range(rng.randint(1, 3)))
        last = rng.choice(["weight", "bias", "fc.weight", "conv1.weight", "running_mean"])
        content.append((f"{name}{last}", torch.randn(rng.choice([(2,), (4, 5), (4, 3, 3, 3)]))))
    rng.shuffle(content)
    model, notes = loaded(dict(content), tmp_path / "w.pth")
    assert_same(model, trained)
    (note,) = notes
    assert f"{len(dict(content)) - len(trained.state_dict())} key" in note


@pytest.mark.parametrize("seed", SEEDS)
def test_a_missing_or_misshapen_tensor_is_never_loaded(tmp_path, seed):
    rng, trained = random.Random(seed), network(seed)
    prefix = rng.choice(PREFIXES)
    content = prefixed(prefix, trained.state_dict()) | BESIDE
    name = prefix + rng.choice([name for name in trained.state_dict() if "num_batches" not in name])
    if seed % 2:
        del content[name]
    else:
        content[name] = content[name][..., :-1]
    torch.save(content, tmp_path / "w.pth")
    model = network(99)
    before = model(IMAGES)
    fault = "1 missing" if seed % 2 else "1 of another shape"
    with pytest.raises(XkdError, match=rf"^weights: '.*w.pth' does not fit Sequential: of 11 tensors .*{fault}"):
        load_weights(model, tmp_path / "w.pth")
    assert torch.equal(model(IMAGES), before)


@pytest.mark.parametrize("prefix", ["", "module.", "student."])
@pytest.mark.parametrize(
    "name", ["layer2.weight", "layer5.0.conv.weight", "conv1.scale", "fc2.weight", "fc_dist.weight", "dist_token"]
)
def test_what_stands_where_the_network_s_own_do_is_refused(tmp_path, prefix, name):
    """Of a deeper network, or one with another head, this one's tensors would load and mean something else."""
    content = prefixed(prefix, {**network().state_dict(), name: torch.ones(2)})
    with pytest.raises(XkdError, match=rf"^weights: .* 1 unexpected \({name}\)"):
        loaded(content, tmp_path / "w.pth")


@pytest.mark.parametrize("shape", [(3, 2), (2, 5)])
def test_a_head_around_the_network_is_refused(tmp_path, shape):
    """A backbone whose own head is followed by another one's is no classifier of the first one's classes."""
    content = prefixed("backbone.", network().state_dict()) | {"fc.weight": torch.ones(shape)}
    with pytest.raises(XkdError, match=r"^weights: .* 1 unexpected \(fc.weight\)"):
        loaded(content, tmp_path / "w.pth")


def test_what_tools_count_is_no_weight(tmp_path):
    trained = network()
    counts = {"conv1.total_ops": torch.zeros(1), "total_params": torch.zeros(1), "n_averaged": torch.tensor(3)}
    model, notes = loaded({**trained.state_dict(), **counts}, tmp_path / "w.pth")
    assert_same(model, trained)
    assert notes == ()


@pytest.mark.parametrize("nested", [False, True])
def test_of_two_networks_neither_is_chosen(tmp_path, nested):
    student, teacher = network(1), network(2)
    content = {"student": dict(student.state_dict()), "teacher": dict(teacher.state_dict()), "epoch": 3}
    if not nested:
        content = prefixed("student.", student.state_dict()) | prefixed("teacher.", teacher.state_dict())
    message = r"^weights: .* holds 2 networks of this architecture, under student, teacher; .* FILE#student$"
    with pytest.raises(XkdError, match=message):
        loaded(content, tmp_path / "w.pth")
    for part, trained in (("#student", student), ("#teacher.", teacher)):
        model, notes = loaded(content, tmp_path / "w.pth", part)
        assert_same(model, trained)
        assert notes == ()
    with pytest.raises(XkdError, match=r"^weights: .* has no part 'tutor'; it has student, teacher"):
        loaded(content, tmp_path / "w.pth", "#tutor")


def test_a_part_of_what_is_wrapped(tmp_path):
    student, teacher = network(1), network(2)
    both = prefixed("module.student.", student.state_dict()) | prefixed("module.teacher.", teacher.state_dict())
    for part in ("#module.teacher", "#model.module.teacher"):
        assert_same(loaded({"model": both}, tmp_path / "w.pth", part)[0], teacher)


def test_a_file_that_is_called_so(tmp_path):
    """The sign is a name's own where there is such a file."""
    trained = network()
    torch.save(trained.state_dict(), tmp_path / "w.pth#student")
    assert_same(loaded(network(5).state_dict(), tmp_path / "w.pth", "#student")[0], trained)
    torch.save(trained.state_dict(), tmp_path / "run#3.pth")
    model = network(99)
    load_weights(model, tmp_path / "run#3.pth")
    assert_same(model, trained)


@pytest.mark.parametrize("average", ["ema", "model_ema", "ema_model"])
def test_what_was_trained_goes_before_its_average(tmp_path, average):
    trained, averaged = network(1), network(2)
    content = prefixed(f"{average}.module.", averaged.state_dict()) | prefixed("model.", trained.state_dict())
    model, notes = loaded(content, tmp_path / "w.pth")
    assert_same(model, trained)
    assert notes == (f"weights: 10 keys beside the network's were left out ({average}.* (10))",)
    assert_same(loaded(content, tmp_path / "w.pth", f"#{average}")[0], averaged)
    assert_same(
        loaded({"state_dict": trained.state_dict(), average: averaged.state_dict()}, tmp_path / "w.pth")[0], trained
    )


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_network_goes_before_one_within_it(tmp_path, prefix):
    """The whole is what was saved, and could not be named beside its part."""
    trained, teacher = network(1), network(2)
    content = prefixed(f"{prefix}teacher.", teacher.state_dict()) | prefixed(prefix, trained.state_dict())
    model, notes = loaded(content, tmp_path / "w.pth")
    assert_same(model, trained)
    assert notes == (f"weights: 10 keys beside the network's were left out ({prefix}teacher.* (10))",)


def test_what_lies_beside_a_wrapping_is_said(tmp_path):
    content = {"state_dict": network(1).state_dict(), "ema": network(2).state_dict(), "epoch": 3, "criterion": BESIDE}
    model, notes = loaded(content, tmp_path / "w.pth")
    assert_same(model, network(1))
    assert notes == (
        "weights: 'state_dict' of the file was read (what was trained goes before its average, which FILE#ema names), "
        "and what lies beside it was left out (ema, criterion)",
    )


def test_a_network_that_a_file_has_twice(tmp_path):
    """A module that is registered under two names is saved under both."""
    trained = network()
    model, _ = loaded(
        prefixed("net.", trained.state_dict()) | prefixed("module.net.", trained.state_dict()), tmp_path / "w.pth"
    )
    assert_same(model, trained)


def test_of_two_architectures_the_one_that_is_asked_for(tmp_path):
    """resnet8's names are all among resnet14's, and those of resnet8x4 are the same in other shapes."""
    made = {name: build(name, 3) for name in ("resnet8", "resnet14", "resnet8x4")}
    content = {name: tensor for key in made for name, tensor in prefixed(f"{key}.", made[key].state_dict()).items()}
    torch.save(content, tmp_path / "w.pth")
    for name, trained in made.items():
        classifier = load_classifier(f"xkd/{name}", weights=tmp_path / "w.pth")
        assert torch.equal(classifier(IMAGES), trained.eval()(IMAGES))


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_the_file_s_classes_behind_a_prefix(tmp_path, library):
    import timm
    from torchvision import models

    create = timm.create_model if library == "timm" else models.get_model
    student, teacher = create("resnet18", num_classes=5), create("resnet18", num_classes=1000)
    content = prefixed("student.", student.state_dict())
    torch.save(content | BESIDE, tmp_path / "w.pth")
    classifier = load_classifier(f"{library}/resnet18", weights=tmp_path / "w.pth", size=64)
    assert classifier.num_classes == 5
    assert torch.equal(classifier.model.fc.weight, student.fc.weight)
    assert len(classifier.notes) == 1
    torch.save(content | prefixed("teacher.", teacher.state_dict()), tmp_path / "w.pth")
    # The library's own number of classes is no reason to take the one that has it.
    with pytest.raises(XkdError, match="holds 2 networks of this architecture, under student, teacher"):
        load_classifier(f"{library}/resnet18", weights=tmp_path / "w.pth", size=64)
    chosen = load_classifier(f"{library}/resnet18", weights=f"{tmp_path / 'w.pth'}#teacher", size=64)
    assert (chosen.num_classes, chosen.name) == (1000, f"{library}/resnet18 (w#teacher)")


@pytest.mark.parametrize("classes", [7, 1000])
@pytest.mark.parametrize("aux_logits", [False, True])
def test_googlenet_behind_a_prefix(tmp_path, classes, aux_logits):
    """Its options are read off the weights: torchvision's own, of 1000 classes, normalise their input once more."""
    from torchvision import models

    made = models.googlenet(num_classes=classes, aux_logits=aux_logits, init_weights=False)
    torch.save({"net": prefixed("module.", made.state_dict())}, tmp_path / "w.pth")
    classifier = load_classifier("torchvision/googlenet", weights=tmp_path / "w.pth", size=64)
    assert (classifier.num_classes, classifier.model.transform_input) == (classes, classes == 1000)


def test_a_distilled_transformer_is_no_plain_one(tmp_path):
    """Its second head and token would be left out, and its position embeddings resized."""
    import timm

    made = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=10)
    torch.save(made.state_dict(), tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"^weights: .* does not fit VisionTransformer: .*dist_token"):
        load_classifier("timm/deit_tiny_patch16_224", weights=tmp_path / "w.pth")


def test_each_note_is_logged_and_stays_with_the_classifier(tmp_path, caplog):
    torch.save({**build("resnet8", 3).state_dict(), "loss.weight": torch.ones(1)}, tmp_path / "w.pth")
    note = "weights: 1 key beside the network's was left out (loss.weight)"
    classifier = load_classifier("xkd/resnet8", weights=tmp_path / "w.pth", size=32, mean=0.5, std=0.5)
    assert caplog.record_tuples == [("xkd_eval.models", logging.WARNING, f"xkd/resnet8 (w): {note}")]
    assert classifier.notes == classifier.private().notes == load_classifier(classifier, size=64).notes == (note,)


def test_a_name_of_very_many_parts(tmp_path):
    content = {**network().state_dict(), "a." * 100_000 + "weight": torch.ones(1)}
    assert len(loaded(content, tmp_path / "w.pth")[1][0]) < 300
