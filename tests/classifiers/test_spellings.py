"""Files of the distillation literature's teachers: the network is what it was, tensor by tensor."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.classifiers.published import NETWORKS, Drawn
from xkd_eval.classifiers import load_classifier
from xkd_eval.classifiers.architectures import ARCHITECTURES, build, names
from xkd_eval.classifiers.checkpoint import Checkpoint, save_checkpoint
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError

PAIRED = "weights: paired by the names that RepDistiller and mdistiller give to the same tensors"


def published(name: str, classes: int, seed: int = 0) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The tensors of a network, images, and its logits for them."""
    drawn = Drawn(seed)
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    logits = NETWORKS[name](drawn, images, classes)
    return drawn.tensors, images, logits


def assert_logits(name: str, path: Path, images: Tensor, logits: Tensor) -> tuple[str, ...]:
    classifier = load_classifier(f"xkd/{name}", weights=path)
    with torch.no_grad():
        found = classifier(images)
    assert logits.std() > 0.1  # of a network that does not tell images and classes apart nothing would be seen
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
    return classifier.notes


def test_every_family_is_compared():
    """resnet18 and resnet34 are resnet50's code with another block, and have our names there too."""
    assert {name for name in names() if ARCHITECTURES.is_own(name)} - NETWORKS.keys() == {
        *("resnet18", "resnet34"),
        "reused_head",  # around another network
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_teacher_gives_the_logits_that_it_gave(tmp_path, name):
    tensors, images, logits = published(name, 7)
    torch.save({"epoch": 240, "accuracy": 72.1, "model": tensors}, tmp_path / "ckpt_epoch_240.pth")
    notes = assert_logits(name, tmp_path / "ckpt_epoch_240.pth", images, logits)
    assert len(notes) == (name != "resnet50") and all(note.startswith(PAIRED) for note in notes)


@pytest.mark.parametrize("name", ["resnet20", "wrn_16_2", "vgg8", "mobilenetv2", "shufflenetv1", "shufflenetv2"])
def test_names_pair_them_whatever_their_order(tmp_path, name):
    """safetensors sorts its keys, in which layer1.10 comes before layer1.2."""
    tensors, images, logits = published(name, 5, seed=1)
    safetensors.torch.save_file(tensors, tmp_path / "teacher.safetensors")
    assert_logits(name, tmp_path / "teacher.safetensors", images, logits)


def test_a_student_among_what_it_was_trained_with(tmp_path):
    tensors, images, logits = published("resnet8", 4)
    teacher, _, _ = published("resnet14", 4)
    content = {f"module.student.{name}": tensor for name, tensor in tensors.items()}
    content |= {f"module.teacher.{name}": tensor for name, tensor in teacher.items()}
    content |= {"module.conv_reg.weight": torch.zeros(3), "module.conv_reg.bias": torch.zeros(3)}
    torch.save({"model": content, "best_acc": 70.0}, tmp_path / "latest.pth")
    notes = assert_logits("resnet8", tmp_path / "latest.pth", images, logits)
    # 15 convolutions and projections, as many norms of four, a head of two.
    assert len([name for name in teacher if "num_batches" not in name]) == 77
    assert notes[1] == (
        "weights: 79 keys beside the network's were left out (module.teacher.* (77), module.conv_reg.weight, "
        "module.conv_reg.bias)"
    )


def test_a_checkpoint_s_architecture_takes_them_too(tmp_path, student):
    tensors, images, logits = published("resnet8", 3)
    torch.save({"model": tensors}, tmp_path / "w.pth")
    classifier = load_classifier(student, weights=tmp_path / "w.pth", size=32)
    with torch.no_grad():
        torch.testing.assert_close(classifier(images), logits, rtol=1e-4, atol=1e-4)
    assert classifier.notes == (PAIRED,)


@pytest.mark.parametrize("name", ["resnet8", "wrn_16_1", "vgg8"])
def test_a_tensor_of_another_shape_or_none_is_refused(tmp_path, name):
    tensors, _, _ = published(name, 3)
    key = next(key for key in tensors if key.endswith("running_var"))
    torch.save({"model": {**tensors, key: tensors[key][1:]}}, tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"^weights: '.*w.pth' does not fit xkd/\w+: of \d+ tensors 1 of another shape"):
        load_classifier(f"xkd/{name}", weights=tmp_path / "w.pth")
    del tensors[key]
    torch.save({"model": tensors}, tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"^weights: "):
        load_classifier(f"xkd/{name}", weights=tmp_path / "w.pth")


def test_shapes_alone_are_no_network(tmp_path):
    """Another VGG for CIFAR has the tensors of vgg13 in their order, and halves the map five times."""
    own = build("vgg13", 10).state_dict()
    theirs = {key.replace("stage", ""): tensor for key, tensor in own.items()}
    torch.save({"net": theirs}, tmp_path / "ckpt.pth")
    message = r"^weights: .* shapes are those of xkd/vgg13 in their order, but whose names \(features.1.0"
    with pytest.raises(XkdError, match=message):
        load_classifier("xkd/vgg13", weights=tmp_path / "ckpt.pth")


def test_their_names_without_their_projections_are_another_network(tmp_path):
    """Zeros are padded in more than one way where a shortcut has no parameters."""
    state_dict = build("resnet8", 10, shortcut="A").state_dict()
    renamed = {key.replace("linear.", "fc."): tensor for key, tensor in state_dict.items()}
    torch.save(renamed, tmp_path / "w.pth")
    with pytest.raises(XkdError, match=r"^weights: .* whose names \(fc.weight, fc.bias\) are"):
        load_classifier("xkd/resnet8", weights=tmp_path / "w.pth")
    torch.save(state_dict, tmp_path / "w.pth")
    assert load_classifier("xkd/resnet8", weights=tmp_path / "w.pth").notes == ()


def test_ours_goes_before_theirs(tmp_path):
    """A file that has the network by both namings holds ours and something else."""
    tensors, _, _ = published("resnet8", 3)
    own = build("resnet8", 3).state_dict()
    both = {**{f"a.{name}": tensor for name, tensor in tensors.items()}, **{f"b.{n}": t for n, t in own.items()}}
    save_checkpoint(Checkpoint("resnet8", {"num_classes": 3}, own, Preprocess(size=(32, 32))), tmp_path / "own.pt")
    torch.save(both, tmp_path / "w.pth")
    loaded = load_classifier("xkd/resnet8", weights=tmp_path / "w.pth")
    assert loaded.digest() == load_classifier(tmp_path / "own.pt").digest()
