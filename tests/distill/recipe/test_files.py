"""Recipes: the shipped ones all resolve and build; wrong keys, names and values are errors that say what to do."""

import json
from functools import cache

import numpy as np
import pytest
import yaml
from torch import nn

from distill.methods import create_method
from distill.recipe.files import as_recipe, expand, load_recipe, recipe_text, shipped_files
from distill.recipe.schema import Recipe
from distill.runs.layout import directory_name
from distill.training.networks import student_preprocess
from xkd_eval import load_classifier
from xkd_eval.classifiers.checkpoint import Checkpoint, save_checkpoint
from xkd_eval.classifiers.sources import build_architecture
from xkd_eval.errors import XkdError

ALL = [name for file in shipped_files() for name in file.names()]


@cache
def build_once(architecture: str, arguments: str) -> None:
    build_architecture(architecture, {"num_classes": 10, **json.loads(arguments)}, "student")


@pytest.mark.parametrize("name", ALL)
def test_every_shipped_recipe_resolves_and_its_parts_exist(name):
    recipe = load_recipe(name)
    build_once(recipe.student.architecture, json.dumps(recipe.student.arguments, sort_keys=True))
    student_preprocess(recipe.student)
    for loss in recipe.losses:
        create_method(loss.method, **loss.options)
    if recipe.teacher is not None and recipe.teacher.recipe is not None:
        assert recipe.teacher.recipe in ALL


@pytest.mark.parametrize("name", ["ce/imagenet/mobilenetv1", "exp-kd/imagenet/resnet50-mobilenetv1"])
def test_the_mobilenet_of_imagenet_is_that_of_the_literature(name, tmp_path):
    """27 layers with ReLUs, not bounded, and 4.2 million parameters; it is loaded again as it was trained."""
    student = load_recipe(name).student
    arguments = {"num_classes": 1000, **student.arguments}
    network = build_architecture(student.architecture, arguments, "student")
    checkpoint = Checkpoint(student.architecture, arguments, network.state_dict(), student_preprocess(student))
    save_checkpoint(checkpoint, tmp_path / "student.pt")
    for found in (network, load_classifier(tmp_path / "student.pt").model):
        kinds = [type(module) for module in found.modules()]
        assert kinds.count(nn.ReLU) == 27 and nn.ReLU6 not in kinds
        assert kinds.count(nn.Conv2d) == 27 and kinds.count(nn.Linear) == 1
        assert sum(parameter.numel() for parameter in found.parameters()) == 4_231_976


def test_a_recipe_written_out_is_the_same_recipe(tmp_path):
    recipe = load_recipe("dkd/cifar100/vgg13-mobilenetv2", ["epochs=3"])
    (tmp_path / "again.yaml").write_text(recipe_text(recipe))
    assert load_recipe(str(tmp_path / "again.yaml")) == recipe


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs: 0 found"),
        ({"epochs": "1"}, "epochs: '1' found"),
        ({"batch_size": True}, "batch_size: True found"),
        ({"batch_size": -4}, "batch_size: -4 found"),
        ({"seed": -1}, "seed: -1 found"),
        ({"seed": np.float64(3.5)}, "seed: 3.5 found"),
        ({"epoch": 3}, "nothing reads the key 'epoch'; nearest: epochs"),
        ({"losses": [{"methd": "ce"}]}, "losses.0.method: missing"),
        ({"data": None}, "data: None found"),
    ],
)
@pytest.mark.parametrize("overrides", [[], ["accumulate=1"]])
def test_a_changed_copy_is_checked(changes, message, overrides):
    recipe = load_recipe("quickstart/kd").model_copy(update=changes)
    with pytest.raises(XkdError, match=f"^recipe: {message}"):
        as_recipe(recipe, overrides)


def test_copies_within_a_copy_and_what_was_constructed_are_checked():
    recipe = load_recipe("quickstart/kd")
    optimiser = recipe.optimiser.model_copy(update={"learning_rate": -0.1})
    with pytest.raises(XkdError, match=r"^recipe: optimiser.learning_rate: -0.1 found"):
        as_recipe(recipe.model_copy(update={"optimiser": optimiser}))
    with pytest.raises(XkdError, match=r"^recipe: data: missing"):
        as_recipe(Recipe.model_construct())
    endless: dict = {}
    endless["student"] = endless
    with pytest.raises(XkdError, match=r"^recipe: nested too deeply"):
        as_recipe(endless)


def test_numpy_numbers_and_entries_as_dicts_stand_for_ours():
    recipe = load_recipe("quickstart/kd", ["losses.kd.temperature=3"])
    changes = {"seed": np.int64(3), "ema_decay": np.float32(0.5), "losses": [{"method": "ce"}, *recipe.losses[1:]]}
    taken = as_recipe(recipe.model_copy(update=changes))
    assert (type(taken.seed), taken.seed, taken.ema_decay) == (int, 3, 0.5)
    assert taken.losses[1].options == {"temperature": 3}
    assert as_recipe(recipe) == recipe


def test_overrides_reach_every_depth():
    recipe = load_recipe(
        "exp-kd/cifar100/resnet56-resnet20",
        ["epochs=60", "losses.exp_kd.weight=2e3", "schedule={name: cosine}", "student.arguments.shortcut=A"],
    )
    assert recipe.epochs == 60
    assert recipe.losses[1].weight == 2000
    assert recipe.schedule.name == "cosine"
    assert recipe.student.arguments == {"shortcut": "A"}


def test_a_model_takes_the_place_of_a_teachers_recipe():
    recipe = load_recipe("kd/cifar100/vgg13-vgg8", ["teacher.model=mine.pt"])
    assert (recipe.teacher.model, recipe.teacher.recipe) == ("mine.pt", None)


def test_variants_and_extending_files(tmp_path):
    (tmp_path / "base.yaml").write_text(
        yaml.safe_dump({"recipe": load_recipe("ce/cifar10/resnet20").model_dump(mode="json", exclude_none=True)})
    )
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"extends: {tmp_path / 'base.yaml'}\nrecipe: {{epochs: 7}}\n"
        "variants:\n  short: {epochs: 1}\n  wide: {student.architecture: resnet8x4}\n"
    )
    assert expand(str(file)) == [f"{file}:short", f"{file}:wide"]
    assert [load_recipe(name).epochs for name in expand(str(file))] == [1, 7]
    assert directory_name(f"{file}:wide") == "mine/wide"
    with pytest.raises(XkdError, match="has 2 variants; name one"):
        load_recipe(str(file))


def test_a_file_extends_one_beside_it_and_may_end_in_yml(tmp_path, monkeypatch):
    """From whatever folder; a recipe that ships goes by its name."""
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (tmp_path / "far" / "base.yml").write_text("extends: quickstart\nrecipe: {batch_size: 16}\n")
    (tmp_path / "far" / "deep" / "mine.yml").write_text("extends: ../base.yml\nvariants: {wide: {epochs: 7}}\n")
    monkeypatch.chdir(tmp_path)
    assert "far/deep/mine.yml:wide" in expand("far/deep/mine.yml")
    recipe = load_recipe("far/deep/mine.yml:wide")
    assert (recipe.batch_size, recipe.epochs, recipe.data.path) == (16, 7, "embedded")
    assert directory_name("far/deep/mine.yml:wide") == "mine/wide"
    assert directory_name("far/deep/mine.yml") == "mine"
    (tmp_path / "base.yml").write_text("recipe: {epochs: 1}")
    for extends, message in (
        ("base.yml", r"extends 'base.yml', which is not there; looked for 'far/deep/base.yml', as a path is relative"),
        ("../base.yml:wide", r"'far/deep/../base.yml' has no variant 'wide'; "),
        ("quickstart/wide", r"'quickstart' has no variant 'wide'; "),
        ("quickstrat", r"extends 'quickstrat', which is not there; no recipe that ships .*nearest: quickstart"),
    ):
        (tmp_path / "far" / "deep" / "bad.yaml").write_text(f"extends: {extends}\n")
        with pytest.raises(XkdError, match=message):
            load_recipe("far/deep/bad.yaml")


def test_a_file_extends_one_variant_of_another_and_is_then_one_recipe(tmp_path):
    base, mine, further = (tmp_path / name for name in ("base.yaml", "mine.yaml", "further.yaml"))
    base.write_text("extends: quickstart/kd\nvariants: {short: {epochs: 3}, long: {epochs: 90}}\n")
    mine.write_text("extends: quickstart/kd\nrecipe: {epochs: 7}\n")
    further.write_text("extends: base.yaml:short\nrecipe: {batch_size: 8}\n")
    assert [expand(str(file)) for file in (mine, further)] == [[str(mine)], [str(further)]]
    assert [loss.method for loss in load_recipe(str(mine)).losses] == ["ce", "kd"]
    assert load_recipe(str(mine)).epochs == 7
    assert (load_recipe(str(further)).epochs, load_recipe(str(further)).batch_size) == (3, 8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "extends: quickstart\nrecipe: {losses: [{method: ce}]}",
            r"sets losses, which 'kd' of quickstart sets otherwise; .*`extends: quickstart/",
        ),
        (
            "extends: kd/cifar100\nrecipe: {teacher: {model: mine.pt}}",
            r"sets teacher\.model, which 'resnet56-resnet20' of ",
        ),
    ],
)
def test_keys_that_inherited_variants_would_take_back_are_refused(tmp_path, content, message):
    """Or else a file's losses were those of the file that it extends."""
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(XkdError, match=message):
        load_recipe(f"{file}:kd")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["epoch=3"], "nothing reads the key 'epoch'; nearest: epochs"),
        (["optimiser.lr=3"], "optimiser: nothing reads the key 'lr'"),
        (["losses.kd.temprature=3"], "nothing reads|unknown option"),
        (["losses.exp_kd.weight=3"], "no method 'exp_kd' among the losses"),
        (["epochs=0"], "epochs: 0 found; .*greater than 0"),
        (["epochs"], "overrides: 'epochs' found; expected key=value"),
        (["epochs=[1"], r"overrides: the value of 'epochs=\[1' is no YAML \(.*line 1\)"),
        (["schedule.name=linear"], "schedule: .*'linear'"),
        (["losses=[{method: ce}, {method: ce}]"], "'ce' stands there 2 times"),
    ],
)
def test_wrong_overrides_are_errors_that_name_the_key(overrides, message):
    with pytest.raises(XkdError, match=message):
        recipe = load_recipe("kd/cifar100/resnet56-resnet20", overrides)
        for loss in recipe.losses:
            create_method(loss.method, **loss.options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("recipe: [", "is no YAML"),
        ("- 1", r"\[1\] found; input should be a valid dictionary"),
        ("recipes: {}", "nothing reads the key 'recipes'; nearest: recipe"),
        ("recipe: {epochs: 1}", "data: missing"),
    ],
)
def test_wrong_files_are_errors(tmp_path, content, message):
    (tmp_path / "bad.yaml").write_text(content)
    with pytest.raises(XkdError, match=message):
        load_recipe(str(tmp_path / "bad.yaml"))


def test_unknown_names_suggest_the_nearest(tmp_path):
    with pytest.raises(XkdError, match=r"nearest: .*quickstart"):
        load_recipe("quickstrat")
    with pytest.raises(XkdError, match="has no variant 'resnet56-resnet21'; nearest: resnet56-resnet20"):
        load_recipe("kd/cifar100/resnet56-resnet21")
    with pytest.raises(XkdError, match="does not exist"):
        load_recipe(str(tmp_path / "none.yaml"))
