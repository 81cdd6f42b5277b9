"""A classifier shows itself in a few lines, is evaluated in eval mode and float32, and refuses what it cannot take."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from xkd_eval.classifiers import CamHead, Classifier, Preprocess, load_classifier
from xkd_eval.classifiers.proof.steps import Step
from xkd_eval.errors import XkdError
from xkd_eval.testing import SmallNetwork, small_classifier


def test_a_classifier_is_five_lines():
    lines = repr(load_classifier("embedded/exp_kd")).split("\n")
    assert lines[0] == "Classifier embedded/exp_kd"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["network", "input", "classes", "CAM"]
    assert lines[3] == "  classes: 10: zero, one, two, three, four, ..."


def test_without_a_head_or_names_it_says_so():
    made = Classifier(nn.Linear(3, 2), Preprocess(), name="<mine>", num_classes=2, head_refusal="a token model")
    assert "classes: 2: without names" in repr(made)
    assert "CAM: none: a token model" in repr(made)
    assert "&lt;mine&gt;" in made._repr_html_() and "<mine>" not in made._repr_html_()


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (CamHead("layer4", "fc", "NCHW", False, (), (7, 7), 1e-7), "layer4 (NCHW, 7x7), head fc"),
        (CamHead("f", None, "NCHW", True, (), (2, 3), 0.0), "f (NCHW, then ReLU, 2x3), head none: its channels"),
        (
            CamHead("s", "head.fc", "NHWC", False, (Step("layer norm", "head.norm"),), (7, 7), 0.0),
            "s (NHWC, 7x7), layer norm head.norm, head head.fc",
        ),
    ],
)
def test_a_head_is_a_phrase(head, text):
    assert str(head).startswith(text)


def test_a_head_within_another_network_names_every_module_from_there():
    steps = (Step("batch norm", "norm", "norm_dist"), Step("unit length", ""))
    head = CamHead("layer4", "fc", "tokens", True, steps, (7, 5), 1e-7, prefix=1, averaged="fc_dist")
    moved = (Step("batch norm", "network.norm", "network.norm_dist"), Step("unit length", ""))
    assert head.within("network") == CamHead(
        *("network.layer4", "network.fc", "tokens", True, moved, (7, 5), 1e-7), prefix=1, averaged="network.fc_dist"
    )
    bare = CamHead("f", None, "NCHW", False, (), (2, 3), 0.0)
    assert bare.within("a.b") == CamHead("a.b.f", None, "NCHW", False, (), (2, 3), 0.0)


def test_a_head_that_lost_its_matrix_says_so():
    classifier = small_classifier()
    path = classifier.head.linear
    classifier.model.set_submodule(path, nn.Identity())
    with pytest.raises(XkdError, match=rf"^model: {classifier.name} has no matrix in {path} any more, where its head"):
        _ = classifier.head_weight


IMAGES = torch.linspace(-2, 2, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.train(),
        lambda made: made.model.features[1].train() and made,
        lambda made: made.double(),
        lambda made: made.requires_grad_(True),
    ],
    ids=["training", "one norm in training", "double", "with gradients"],
)
def test_a_classifier_is_evaluated_alike_in_any_state_and_keeps_it(change):
    plain, changed = small_classifier(), change(small_classifier())
    before, flags = copy.deepcopy(changed.state_dict()), [module.training for module in changed.modules()]
    expected = (plain(IMAGES), *plain.forward_with_features(IMAGES), plain.cams(plain.forward_with_features(IMAGES)[1]))
    logits, features = changed.forward_with_features(IMAGES)
    for ours, theirs in zip((changed(IMAGES), logits, features, changed.cams(features)), expected, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert [module.training for module in changed.modules()] == flags
    assert all(torch.equal(value, before[name]) for name, value in changed.state_dict().items())
    assert not any(module._forward_hooks for module in changed.modules())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_a_module_of_another_precision_is_copied_to_float32(dtype):
    module = SmallNetwork().eval().to(dtype)
    made = Classifier(module, Preprocess(size=(32, 32)), name="net", num_classes=5)
    assert made(IMAGES).dtype == torch.float32 and module.head.weight.dtype == dtype
    torch.testing.assert_close(made(IMAGES), module.float()(IMAGES), rtol=0, atol=0)


def test_gradients_reach_images_and_parameters_also_of_a_network_in_training_mode():
    made = small_classifier().requires_grad_(True).train()
    images = IMAGES.clone().requires_grad_()
    made(images).sum().backward()
    assert images.grad is not None and made.model.head.weight.grad is not None


def test_a_classifier_is_pickled_with_its_private_copy():
    made = pickle.loads(pickle.dumps(small_classifier().private()))
    assert torch.equal(made(IMAGES), small_classifier()(IMAGES)) and made.private() is made


def test_a_private_copy_is_made_again_where_it_no_longer_is_one():
    private = small_classifier().private()
    private.train()
    assert private.private() is not private and not private.private().training


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 3, 32, 32)), r"a NumPy array of float64 \(1, 3, 32, 32\) found; expected a tensor"),
        (None, "a NoneType found; expected a tensor"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), r"a uint8 tensor .*; expected floats, which Preprocess.norm"),
        (torch.zeros(3, 32, 32), r"a float32 tensor \(3, 32, 32\) found; expected \(B, 3, H, W\)"),
        (torch.zeros(1, 4, 32, 32), r"expected \(B, 3, H, W\)"),
        (torch.zeros(0, 3, 32, 32), "with at least one image"),
    ],
)
def test_images_of_another_kind_are_refused(images, message):
    for method in (small_classifier(), small_classifier().forward_with_features):
        with pytest.raises(XkdError, match=f"^images: .*{message}"):
            method(images)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([[0], [1]], r"a list found; expected int64 \(2, k\)"),
        (torch.tensor([[0.0], [1.0]]), "a float32 tensor"),
        (torch.tensor([[True], [False]]), "a bool tensor"),
        (torch.tensor([0, 1]), r"a int64 tensor \(2,\)"),
        (torch.tensor([[0], [1], [2]]), r"a int64 tensor \(3, 1\)"),
        (torch.tensor([[0], [5]]), "from 0 to 5 found; the classifier has classes from 0 to 4"),
        (torch.tensor([[-1], [0]]), "from -1 to 0 found"),
    ],
)
def test_classes_of_another_kind_are_refused(classes, message):
    made = small_classifier()
    with pytest.raises(XkdError, match=f"^classes: .*{message}"):
        made.cams(torch.zeros(2, 12, 8, 8), classes)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": len}, "model: <built-in function len> found; expected a torch.nn.Module"),
        ({"preprocess": {}}, "preprocess: {} found; expected an xkd_eval.Preprocess"),
        ({"num_classes": 2.0}, "num_classes: 2.0 found; expected an integer"),
        ({"num_classes": True}, "num_classes: True found"),
    ],
)
def test_a_classifier_of_something_else_is_refused(arguments, message):
    with pytest.raises(XkdError, match=f"^{message}"):
        Classifier(**{"model": nn.Identity(), "preprocess": Preprocess(), "name": "x", "num_classes": 2, **arguments})


def test_a_network_without_logits_says_what_it_gives():
    made = Classifier(nn.Identity(), Preprocess(), name="same", num_classes=2)
    with pytest.raises(XkdError, match=r"^model: same gives a float32 tensor \(2, 3, 32, 32\) for 2 images"):
        made(IMAGES)
