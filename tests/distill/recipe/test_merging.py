"""What comes later wins, key by key, and nothing that was given is lost on the way."""

import itertools
import json

import pytest

from distill.recipe.files import as_recipe, load_recipe
from distill.recipe.merging import entry_of, merged, overridden
from xkd_eval.errors import XkdError

GIVEN = [
    "data.val_split=0.25",
    "data.loader=workers",
    "data.scale=[0.5, 1]",
    "optimiser.momentum=0.5",
    "optimiser={name: sgd}",
    "schedule={name: cosine, final: 0.1}",
]


def test_no_order_of_overrides_loses_one():
    """quickstart/kd is on the device, by AdamW and one cycle; all three become others."""
    orders = list(itertools.permutations(GIVEN))[::7]
    kd = load_recipe("quickstart/kd").model_dump(mode="json")
    recipes = [as_recipe(kd, order) for order in orders]
    assert all(recipe == recipes[0] for recipe in recipes)
    (recipe, *_) = recipes
    assert (recipe.data.loader, recipe.data.val_split, recipe.data.scale) == ("workers", 0.25, (0.5, 1))
    assert (recipe.optimiser.name, recipe.optimiser.momentum) == ("sgd", 0.5)
    # What the file says and the new kinds read as well.
    assert (recipe.data.path, recipe.data.images) == ("embedded", 8000)
    assert (recipe.optimiser.learning_rate, recipe.optimiser.weight_decay) == (0.004, 0.05)
    assert (recipe.schedule.name, recipe.schedule.final) == ("cosine", 0.1)


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_new_kind_does_not_read_goes_if_it_is_the_files_and_is_refused_if_it_was_given(order):
    base = ["data.padding=4"]
    file = load_recipe("quickstart/kd", base).model_dump(mode="json")
    assert not hasattr(as_recipe(file, ["data.loader=workers"]).data, "padding")
    with pytest.raises(XkdError, match=r"data: nothing reads the key 'padding'"):
        load_recipe("quickstart/kd", [*base, "data.loader=workers"][::order])
    with pytest.raises(XkdError, match=r"optimiser: nothing reads the key 'betas'"):
        load_recipe("quickstart/kd", ["optimiser={betas: [0.8, 0.9]}", "optimiser.name=sgd"][::order])


def test_a_slip_in_a_file_is_not_taken_back_by_another_kind():
    values = load_recipe("quickstart/kd").model_dump(mode="json")
    values["data"]["pading"] = 4
    with pytest.raises(XkdError, match=r"data: nothing reads the key 'pading'"):
        as_recipe(values, ["data.loader=workers"])


def test_an_unknown_kind_is_named():
    with pytest.raises(XkdError, match=r"schedule: .*'linear'"):
        load_recipe("quickstart/kd", ["schedule.name=linear", "schedule.warmup_epochs=1"])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["teacher.model=a.pt"], ("a.pt", None, None)),
        (["teacher.recipe=quickstart/teacher"], (None, None, "quickstart/teacher")),
        (["teacher.weights=w.pt", "teacher.model=timm/resnet18"], ("timm/resnet18", "w.pt", None)),
        (["teacher.recipe=quickstart/teacher", "teacher.model=a.pt"], ("a.pt", None, None)),
    ],
)
def test_a_teacher_has_one_name_and_weights_are_of_a_model(overrides, expected):
    recipe = as_recipe(load_recipe("quickstart/kd"), overrides)
    assert (recipe.teacher.model, recipe.teacher.weights, recipe.teacher.recipe) == expected


def test_one_teacher_takes_the_place_of_several():
    several = as_recipe(load_recipe("quickstart/kd"), ["teachers={a: {model: a.pt}, b: {model: b.pt}}"])
    assert (several.teacher, [*several.teachers]) == (None, ["a", "b"])
    one = as_recipe(several, ["teacher.model=c.pt"])
    assert (one.teacher.model, one.teachers) == ("c.pt", None)
    assert as_recipe(several, ["teachers.b.model=c.pt"]).teachers["a"].model == "a.pt"
    with pytest.raises(XkdError, match="teacher: found beside `teachers`"):
        as_recipe(several, ["teacher.model=c.pt", "teachers.b.model=c.pt"])


def test_weights_of_a_files_model_go_with_it():
    weighed = load_recipe("quickstart/kd", ["teacher={model: timm/resnet34, weights: old.pt}"])
    assert as_recipe(weighed, ["teacher.recipe=quickstart/teacher"]).teacher.weights is None
    with pytest.raises(XkdError, match="weights: nothing reads them beside 'recipe'"):
        load_recipe("quickstart/kd", ["teacher.weights=w.pt", "teacher.recipe=quickstart/teacher"])


LOSSES = [
    {"method": "ce"},
    {"method": "kd", "name": "hot"},
    {"method": "kd", "name": "kd.cold"},
    {"method": "py:a.b:Loss"},
    {"method": "dkd", "name": "ce2"},
]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("ce.weight", (0, "ce")),
        ("hot", (1, "hot")),
        ("kd.cold.weight", (2, "kd.cold")),
        ("py:a.b:Loss.weight", (3, "py:a.b:Loss")),
        ("dkd.weight", (4, "dkd")),
        ("none.weight", None),
    ],
)
def test_a_loss_goes_by_its_name_or_else_by_its_method(key, expected):
    assert entry_of(LOSSES, key) == expected


def test_a_method_that_stands_there_twice_is_no_name():
    with pytest.raises(XkdError, match=r"^losses: 'kd' stands for 2 of them; give each a `name`$"):
        entry_of(LOSSES, "kd.weight")
    with pytest.raises(XkdError, match=r"no method 'cold' among the losses of the recipe; nearest: kd.cold"):
        overridden({"losses": LOSSES}, ["losses.cold.weight=3"])


def test_a_loss_is_merged_as_a_mapping_unless_it_becomes_another_method():
    values = {"losses": [{"method": "kd", "weight": 2, "temperature": 3}]}
    assert overridden(values, ["losses.kd={weight: 5}"]) == {
        "losses": [{"method": "kd", "weight": 5, "temperature": 3}]
    }
    assert overridden(values, ["losses.kd={method: ce}"]) == {"losses": [{"method": "ce"}]}


def test_another_network_takes_back_what_belonged_to_the_former():
    recipe = load_recipe("quickstart/kd", ["student.architecture=resnet20"])
    assert recipe.student.arguments == {}
    assert recipe.student.preprocess == load_recipe("quickstart/kd").student.preprocess
    given = ["student.arguments={widths: [4, 4, 8, 8]}", "student.architecture=resnet20"]
    for order in (given, given[::-1]):
        assert load_recipe("quickstart/kd", order).student.arguments == {"widths": [4, 4, 8, 8]}
    belonging = {"weights": "w.pt", "arguments": {"img_size": 64}, "preprocess": {"size": 64}, "stored": "answers"}
    values = {"teacher": {"model": "a.pt", **belonging}}
    assert merged(values, {"teacher": {"model": "b.pt"}}) == {"teacher": {"model": "b.pt"}}
    assert merged(values, {"teacher": {"weights": "v.pt"}})["teacher"] == {**values["teacher"], "weights": "v.pt"}


def test_what_another_network_is_given_with_it_is_all_that_it_has(tmp_path):
    """Arguments of the former one beside its own would fail, or, where both have them, be taken without a word."""
    together = {"architecture": "resnet20", "arguments": {"shortcut": "B"}}
    recipe = load_recipe("quickstart/kd", [f"student={json.dumps(together)}"])
    assert recipe.student.arguments == {"shortcut": "B"}
    (tmp_path / "mine.yml").write_text(json.dumps({"extends": "quickstart/kd", "recipe": {"student": together}}))
    assert load_recipe(str(tmp_path / "mine.yml")).student.arguments == {"shortcut": "B"}
    values = {"teacher": {"model": "a.pt", "arguments": {"img_size": 64}}}
    change = {"teacher": {"model": "b.pt", "arguments": {"depth": 2}}}
    assert merged(values, change) == change
    same = {"teacher": {"model": "a.pt", "arguments": {"depth": 2}}}
    assert merged(values, same)["teacher"]["arguments"] == {"img_size": 64, "depth": 2}
    given = load_recipe("quickstart/kd", ["student.arguments.widths=[4, 4, 8, 8]", f"student={json.dumps(together)}"])
    assert given.student.arguments == {"widths": [4, 4, 8, 8], "shortcut": "B"}
