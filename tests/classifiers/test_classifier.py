"""A classifier shows itself in a few lines."""

import pytest
from torch import nn

from xkd_eval.classifiers import CamHead, Classifier, Preprocess, load_classifier


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
        (CamHead("layer4", "fc", "NCHW", False, None, (7, 7), 1e-7), "layer4 (NCHW, 7x7), head fc"),
        (CamHead("f", None, "NCHW", True, None, (2, 3), 0.0), "f (NCHW, then ReLU, 2x3), head none: its channels"),
        (CamHead("s", "head.fc", "NHWC", False, "head.norm", (7, 7), 0.0), "s (NHWC, 7x7), head head.fc, norm head"),
    ],
)
def test_a_head_is_a_phrase(head, text):
    assert str(head).startswith(text)
