"""Methods of other packages, of a user's file and of a notebook."""

from __future__ import annotations

import json
import sys
from importlib import metadata

import pytest
import torch

import distill
from distill.methods import METHODS, create_method
from distill.methods.registry import _checked
from distill.testing import check_method
from tests.distill.conftest import values_of
from xkd_eval import load_classifier
from xkd_eval.errors import XkdError
from xkd_eval.registry import Registry

MINE = """
import torch
from torch import nn

import distill


@distill.register
class LogitDistance(distill.Method):
    name = "logit_distance"
    citation = "Ba & Caruana, NIPS 2014"
    requires = frozenset({"logits"})

    def __init__(self, power: float = 2.0) -> None:
        super().__init__()
        self.power = power

    def losses(self, student, teacher, labels, indices):
        return {"logit_distance": (student.logits - teacher.logits).abs().pow(self.power).mean()}


class Net(nn.Module):
    def __init__(self, num_classes, channels=8):
        super().__init__()
        self.features = nn.Conv2d(3, channels, 3, 4)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, images):
        return self.linear(torch.relu(self.features(images)).mean((2, 3)))


def make_net(num_classes, channels=8):
    return Net(num_classes, channels)


def teacher():
    torch.manual_seed(0)
    return Net(10, 16)


def not_a_net(num_classes):
    return 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module that only the working directory holds."""
    (tmp_path / "mine_of_a_user.py").write_text(MINE)
    (tmp_path / "broken_of_a_user.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "mine_of_a_user"
    sys.modules.pop("mine_of_a_user", None)


def recipe(cifar10, mine, **changes):
    values = values_of(cifar10, epochs=1, teacher={"model": f"py:{mine}:teacher"}, losses=[{"method": "ce"}])
    values["teacher"]["preprocess"] = {"size": [32, 32]}
    return {**values, **changes}


def test_a_method_and_an_architecture_of_ones_own_file(cifar10, mine, tmp_path):
    losses = [{"method": "ce"}, {"method": f"py:{mine}:LogitDistance", "weight": 0.1, "power": 1.0}]
    student = {
        "architecture": f"py:{mine}:make_net",
        "arguments": {"channels": 12},
        "preprocess": {"size": [32, 32]},
    }
    result = distill.train(
        recipe(cifar10, mine, losses=losses, student=student), tmp_path / "run", device="cpu", force=True
    )
    assert result.metrics["logit_distance"].item() > 0
    classifier = load_classifier(result.path)
    assert type(classifier.model).__name__ == "Net"
    assert classifier.model.linear.in_features == 12
    weights = result.student().model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in classifier.model.state_dict().items())


def test_imports_come_before_names_are_looked_up_and_are_recorded(cifar10, mine, tmp_path):
    values = recipe(cifar10, mine, imports=[mine], losses=[{"method": "ce"}, {"method": "logit_distance"}])
    result = distill.train(values, tmp_path / "run", device="cpu", force=True)
    assert result.recipe.imports == (mine,)
    assert distill.load_recipe(str(tmp_path / "run" / "recipe.yaml")) == result.recipe
    check_method("logit_distance", power=1.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"imports": ["broken_of_a_user"]}, "^imports: broken_of_a_user cannot be imported .*a_module_that_is_not"),
        ({"imports": ["no_such_module"]}, "^imports: no_such_module cannot be imported"),
        ({"losses": [{"method": "py:mine_of_a_user:Nothing"}]}, "mine_of_a_user has no 'Nothing'"),
        ({"losses": [{"method": "py:mine_of_a_user:Net"}]}, "method: .*expected a subclass of distill.Method"),
        ({"losses": [{"method": "py:broken_of_a_user:Thing"}]}, "^method: py:broken_of_a_user:Thing cannot be imp"),
        ({"student": {"architecture": "py:mine_of_a_user:nothing"}}, "architecture: mine_of_a_user has no 'nothing'"),
        ({"student": {"architecture": "py:subprocess:call"}}, "call takes no argument called num_classes"),
        ({"student": {"architecture": "py:mine_of_a_user:not_a_net"}}, "returned a int; expected an nn.Module"),
        (
            {"student": {"architecture": "py:mine_of_a_user:make_net", "arguments": {"width": 3}}},
            "make_net: unknown argument 'width'; expected one of num_classes, channels",
        ),
    ],
)
def test_what_fails_to_import_is_one_line_that_names_it(cifar10, mine, tmp_path, changes, message):
    with pytest.raises(XkdError, match=message) as error:
        distill.train(recipe(cifar10, mine, teacher=None, **changes), tmp_path / "run", device="cpu")
    assert "\n" not in str(error.value)


def test_an_override_reaches_a_method_of_ones_own_file():
    losses = ["losses=[{method: ce}, {method: 'py:my.module:Mine'}]", "losses.py:my.module:Mine.weight=3"]
    assert distill.load_recipe("quickstart/plain", losses).losses[1].weight == 3


def test_a_class_that_is_defined_twice_replaces_itself_and_another_is_refused(mine):
    def define(factor):
        @distill.register
        class Again(distill.Method):
            name = "again"
            citation = "none"
            requires = frozenset()
            scale = factor

            def losses(self, student, teacher, labels, indices):
                return {"again": student.logits.square().mean()}

        return Again

    define(1)
    second = define(2)
    assert METHODS["again"] is second
    assert create_method("again").scale == 2
    other = type("Other", (distill.Method,), {"name": "kd", "citation": "", "requires": frozenset()})
    with pytest.raises(XkdError, match=r"method: 'kd' is taken by distill\.methods\.kd\.Kd"):
        distill.register(other)


@pytest.fixture
def installed(monkeypatch):
    """As if two packages were installed, one of which fails to import."""

    def entry_points(group):
        values = {"at_of_others": "distill.methods.at:At", "broken": "a_module_that_is_not_there:Thing"}
        return [metadata.EntryPoint(name, value, group) for name, value in values.items() if group == "xkd.methods"]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    registry = Registry("method", group="xkd.methods", home=METHODS._home, check=_checked)
    for name in METHODS.names():
        if name in METHODS._known:
            registry.add(name, METHODS[name])
    monkeypatch.setattr("distill.methods.registry.METHODS", registry)


def test_a_package_that_fails_to_import_costs_itself_alone(installed, xkd_distill):
    code, printed, err = xkd_distill("recipes", "--methods")
    assert code == 0
    assert "exp_kd" in printed
    (line,) = err.strip().splitlines() if "at_of_others" not in err else [err.strip().splitlines()[-1]]
    assert line.startswith("warning: method: 'broken' cannot be used: ")
    assert "a_module_that_is_not_there" in line


def test_the_methods_are_listed_with_their_options(xkd_distill):
    code, printed, err = xkd_distill("recipes", "--methods")
    assert (code, err) == (0, "")
    assert json.dumps("temperature=4.0")[1:-1] in printed
