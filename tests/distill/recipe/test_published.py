"""The shipped recipes of published methods: which pairs, by which weights, and what is expected of their teachers."""

from __future__ import annotations

from typing import Any

import pytest

from distill.recipe.files import expand, load_recipe, shipped_files
from distill.recipe.schema import Recipe

PAIRS = [
    ("resnet56", "resnet20"),
    ("resnet110", "resnet32"),
    ("resnet32x4", "resnet8x4"),
    ("wrn_40_2", "wrn_16_2"),
    ("wrn_40_2", "wrn_40_1"),
    ("vgg13", "vgg8"),
    ("resnet32x4", "shufflenetv1"),
    ("resnet32x4", "shufflenetv2"),
    ("wrn_40_2", "shufflenetv1"),
    ("vgg13", "mobilenetv2"),
    ("resnet50", "mobilenetv2"),
    ("resnet110", "resnet20"),
    ("resnet50", "vgg8"),
    ("resnet32x4", "mobilenetv2"),
]
SLOW = {"shufflenetv1", "shufflenetv2", "mobilenetv2"}
"""Students that start from a rate of 0.01."""
TOP1 = {
    "resnet56": 72.34,
    "resnet110": 74.31,
    "resnet32x4": 79.42,
    "wrn_40_2": 75.61,
    "vgg13": 74.64,
    "resnet50": 79.34,
    "timm/resnet34.tv_in1k": 73.31,
    "timm/resnet50.tv_in1k": 76.16,
    "timm/regnety_160.deit_in1k": 82.9,
    "timm/deit3_small_patch16_224.fb_in22k_ft_in1k": 83.1,
    "timm/deit3_base_patch16_224.fb_in22k_ft_in1k": 85.7,
    "timm/deit3_large_patch16_224.fb_in22k_ft_in1k": 87,
}
"""Of the teachers that figures on CIFAR-100 and on ImageNet are of."""
WITHOUT_TEACHER = ("ce", "teacher")
OWN_PAIRS = {
    "dot": [("resnet32x4", "resnet8x4"), ("vgg13", "vgg8"), ("resnet32x4", "shufflenetv2")],
    "norm": [("resnet32x4", "resnet8x4")],
}
"""Of methods whose settings are published for few."""


def folders(data: str) -> list[str]:
    """Of the recipes that distil on a data set."""
    names = [file.name.split("/") for file in shipped_files()]
    return [name[0] for name in names if name[1:] == [data] and name[0] not in WITHOUT_TEACHER]


def recipes_of(folder: str, data: str) -> dict[str, Recipe]:
    """By variant."""
    return {name.rpartition("/")[2]: load_recipe(name) for name in expand(f"{folder}/{data}")}


def networks(recipe: Recipe) -> tuple[str, str]:
    """The architectures of teacher and student."""
    assert recipe.teacher is not None
    teacher = recipe.teacher.model or load_recipe(str(recipe.teacher.recipe)).student.architecture
    return teacher, recipe.student.architecture


def losses(recipe: Recipe) -> list[dict[str, Any]]:
    """What is not at its default."""
    return [loss.model_dump(exclude_defaults=True) for loss in recipe.losses]


@pytest.mark.parametrize("folder", folders("cifar100"))
def test_the_cifar100_pairs_are_those_of_the_literature(folder):
    recipes = recipes_of(folder, "cifar100")
    found = [networks(recipe) for recipe in recipes.values()]
    assert found == OWN_PAIRS[folder] if folder in OWN_PAIRS else found[: len(PAIRS)] == PAIRS
    assert [f"{teacher}-{student}".replace("wrn_", "wrn") for teacher, student in found] == list(recipes)
    for recipe in recipes.values():
        if folder == "exp-kd-authors":
            continue
        assert recipe.batch_size == 64
        if folder != "mlkd":
            assert recipe.optimiser.learning_rate == (0.01 if recipe.student.architecture in SLOW else 0.05)
            assert recipe.epochs == 240


def test_exp_kd_by_its_authors_has_their_weight_and_rate():
    """As their configuration names them, made relative: a weight w stands for 100 w places a batch / (K C)^2."""
    recipes = recipes_of("exp-kd-authors", "cifar100")
    places, channels = 64 * 8 * 8, {"resnet56-resnet20": 64, "resnet110-resnet32": 64, "resnet32x4-resnet8x4": 256}
    weights = {"resnet56-resnet20": 0.5, "resnet110-resnet32": 1, "resnet32x4-resnet8x4": 200}
    for pair, weight in weights.items():
        relative = 100 * weight * places / (100 * channels[pair]) ** 2
        assert recipes[pair].losses[1].weight == pytest.approx(relative, rel=0.03)
    assert recipes["wrn40_2-wrn40_1"].batch_size == 256
    rates = {recipe.optimiser.learning_rate for recipe in recipes.values()}
    assert rates == {0.01, 0.05, 0.1}


def test_multi_level_distillation_falls_at_the_same_epochs_of_longer_trainings():
    recipes = recipes_of("mlkd", "cifar100")
    assert {name for name, recipe in recipes.items() if recipe.epochs == 240} == {
        f"{teacher}-{student}".replace("wrn_", "wrn") for teacher, student in PAIRS[:6]
    }
    for name, recipe in recipes.items():
        assert recipe.epochs == (960 if name.startswith("resnet32x4-shuffle") else 480) or recipe.epochs == 240
        assert recipe.optimiser.learning_rate == (0.01 if recipe.student.architecture in SLOW else 0.025)
        assert [share * recipe.epochs for share in recipe.schedule.milestones] == [150, 180, 210]


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_each_student_is_trained_without_a_teacher_too(data):
    plain = {load_recipe(name).student.architecture for name in expand(f"ce/{data}")}
    assert plain == {recipe.student.architecture for recipe in recipes_of("kd", data).values()}


@pytest.mark.parametrize("data", ["cifar100", "imagenet"])
def test_a_recipe_states_what_its_teacher_is_expected_to_be_right_on(data):
    found = [(networks(recipe)[0], recipe) for folder in folders(data) for recipe in recipes_of(folder, data).values()]
    assert len(found) > 20
    for teacher, recipe in found:
        assert recipe.teacher.expected_top1 == TOP1[teacher]


def test_it_stays_where_another_teacher_takes_its_place():
    given = load_recipe("kd/cifar100/resnet56-resnet20", ["teacher.model=mine.pt", "teacher.weights=w.pth"])
    assert (given.teacher.model, given.teacher.recipe, given.teacher.expected_top1) == ("mine.pt", None, 72.34)
    none = load_recipe("kd/cifar100/resnet56-resnet20", ["teacher.expected_top1=null"])
    assert none.teacher.expected_top1 is None
    assert none.identity() == load_recipe("kd/cifar100/resnet56-resnet20").identity()


ONE_FOR_ALL = {
    "at": [{"method": "ce"}, {"method": "at", "weight": 1000}],
    "crd": [{"method": "ce"}, {"method": "crd", "weight": 0.8}],
    "dist": [{"method": "ce"}, {"method": "dist", "weight": 2, "temperature": 4}],
    "e2kd": [
        {"method": "ce", "weight": 0.1},
        {"method": "kd", "weight": 0.9, "temperature": 4},
        {"method": "e2kd"},
    ],
    "fitnet": [{"method": "ce"}, {"method": "fitnet", "weight": 100}],
    "kd": [{"method": "ce", "weight": 0.1}, {"method": "kd", "weight": 0.9, "temperature": 4}],
    "nst": [{"method": "ce"}, {"method": "nst", "weight": 50}],
    "ofd": [{"method": "ce"}, {"method": "ofd"}],
    "pkt": [{"method": "ce"}, {"method": "pkt", "weight": 30000}],
    "rkd": [{"method": "ce"}, {"method": "rkd"}],
    "sp": [{"method": "ce"}, {"method": "sp", "weight": 3000}],
}


@pytest.mark.parametrize("folder", ONE_FOR_ALL)
def test_weights_that_are_the_same_for_all_pairs(folder):
    for recipe in recipes_of(folder, "cifar100").values():
        assert losses(recipe) == ONE_FOR_ALL[folder]


CAT_KD = [
    (0.7, 2, False),
    (1.8, 2, False),
    (15, 2, False),
    (12, 2, False),
    (1.5, 2, False),
    (4.5, 2, False),
    (600, 4, True),
    (600, 4, True),
    (80, 4, True),
    (15, 2, True),
    (40, 2, True),
]
"""Weight, grid and norm of the first eleven pairs."""
REVIEWKD = [0.6, 1, 5, 5, 5, 5, 5, 8, 5, 5, 5]
DKD = [2, 2, 8, 6, 6, 6, 8, 8, 8, 6, 8]


def test_weights_that_differ_between_pairs():
    def of(folder: str, place: int) -> dict[str, Any]:
        return losses(list(recipes_of(folder, "cifar100").values())[place])[1]

    for place in range(11):
        weight, grid, normalise = CAT_KD[place]
        assert of("cat-kd", place) == {"method": "cat_kd", "weight": weight, "grid": grid, "normalise": normalise}
        weighted = {} if REVIEWKD[place] == 1 else {"weight": REVIEWKD[place]}
        assert of("reviewkd", place) == {"method": "reviewkd", "ramp_epochs": 20, **weighted}
        assert of("dkd", place)["beta"] == DKD[place]


def test_standardised_logits_have_the_temperatures_and_weights_of_their_logs():
    kd = {name: losses(recipe)[1] for name, recipe in recipes_of("lskd", "cifar100").items()}
    assert all(loss["standardise"] for loss in kd.values())
    found = {name: (loss["temperature"], loss.get("weight", 1)) for name, loss in kd.items()}
    assert {found[name] for name in found} == {(2, 9), (3, 9), (3, 1), (4, 12)}
    assert found["resnet56-resnet20"] == (2, 9) and found["vgg13-vgg8"] == (3, 9)
    dkd = {name: losses(recipe)[1] for name, recipe in recipes_of("lskd-dkd", "cifar100").items()}
    found = {name: (loss["temperature"], loss["weight"], loss["beta"]) for name, loss in dkd.items()}
    assert found["resnet56-resnet20"] == (3, 18, 2) and found["resnet32x4-resnet8x4"] == (2, 9, 8)
    assert all(loss["ramp_epochs"] == 20 and loss["alpha"] == 1 for loss in dkd.values())


IMAGENET = {
    "at": (512, 0.2, False),
    "cat-kd": (512, 0.2, False),
    "crd": (256, 0.1, False),
    "dist": (256, 0.1, True),
    "dkd": (512, 0.2, False),
    "e2kd": (256, 0.1, False),
    "exp-kd": (512, 0.2, False),
    "kd": (512, 0.2, False),
    "lskd": (512, 0.2, False),
    "lskd-dkd": (512, 0.2, False),
    "dot": (512, 0.2, False),
    "ofd": (256, 0.1, True),
    "reviewkd": (256, 0.1, False),
    "sdd": (512, 0.2, False),
    "sdd-dkd": (512, 0.2, False),
    "srd": (256, 0.1, False),
}
"""Images a step, rate, and whether Nesterov's momentum."""
OWN_SCHEDULES = {"mlkd", "simkd", "token-kd", "vitkd"}


def test_imagenet_by_each_methods_own_batch_and_rate():
    assert set(folders("imagenet")) == set(IMAGENET) | OWN_SCHEDULES
    for folder, expected in IMAGENET.items():
        for recipe in recipes_of(folder, "imagenet").values():
            optimiser = recipe.optimiser
            nesterov = getattr(optimiser, "nesterov", False)
            assert (recipe.batch_size, optimiser.learning_rate, nesterov) == expected
            assert (recipe.epochs, optimiser.weight_decay) == (100, 1e-4)


def test_imagenet_by_schedules_of_their_own():
    def of(folder: str) -> dict[str, tuple[int, int, float]]:
        recipes = recipes_of(folder, "imagenet")
        return {name: (one.epochs, one.batch_size, one.optimiser.learning_rate) for name, one in recipes.items()}

    assert of("mlkd") == {"resnet34-resnet18": (100, 512, 0.1), "resnet50-mobilenetv1": (100, 512, 0.2)}
    assert of("simkd") == {"resnet50-resnet18": (120, 256, 0.1)}
    assert set(of("token-kd").values()) == set(of("vitkd").values()) == {(300, 1024, 0.001)}
