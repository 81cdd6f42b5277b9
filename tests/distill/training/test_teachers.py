"""Teachers: one or several, each at its own size, joined by class name, and measured before they teach."""

import dataclasses
import pickle

import pytest
import torch

from distill.data.joining import class_places
from distill.data.splits import Classes
from distill.methods import Pass
from distill.runs.layout import STUDENT
from distill.students.evaluate import evaluate
from distill.training.setup import set_up
from distill.training.teachers import averaged
from distill.training.train import train
from tests.distill.conftest import KD, values_of, write_cifar10
from xkd_eval import load_classifier, open_dataset
from xkd_eval.classifiers.checkpoint import read_checkpoint, save_checkpoint
from xkd_eval.errors import XkdError

TWO_LOSSES = [
    {"method": "ce"},
    {"method": "kd", "teacher": "good"},
    {"method": "exp_kd", "teacher": "other", "weight": 1000},
]


@pytest.fixture(scope="module")
def other(tmp_path_factory, cifar10):
    """A teacher of another size, trained a little."""
    directory = tmp_path_factory.mktemp("other")
    student = {"architecture": "resnet8", "arguments": {"widths": [4, 4, 8, 8]}, "preprocess": {"size": [24, 24]}}
    train(values_of(cifar10, student=student, epochs=4), directory, device="cpu")
    return directory / STUDENT


@pytest.fixture
def two(teacher, other):
    return {"good": {"model": str(teacher)}, "other": {"model": str(other)}}


def first_losses(setup, weights=(1.0, 1.0, 1.0)):
    batch = next(iter(setup.train.batches(0, 0)))
    passes = setup.teachers(batch)
    return passes, setup.wrapped(setup.normalise(batch.pixels), passes, batch.labels, batch.indices, weights), batch


def test_a_tap_on_a_convolution_is_its_own_output(recipe_of, tmp_path, teacher):
    """And not that of the batch norm behind it, which is folded into every other convolution."""
    losses = [{"method": "fitnet", "teacher_taps": ["conv1"], "student_taps": ["conv1"]}]
    setup = set_up(recipe_of(losses=losses, teacher={"model": str(teacher)}), "cpu", tmp_path)
    batch = next(iter(setup.train.batches(0, 0)))
    (passed,) = setup.teachers(batch)
    given = load_classifier(teacher)
    expected = given.model.conv1(given.preprocess.normalise(batch.others[0]))
    torch.testing.assert_close(passed.taps["conv1"], expected, rtol=1e-4, atol=1e-4)
    folded = setup.teachers.by_name["teacher"].classifier.model
    assert not isinstance(folded.bn1, torch.nn.Identity) and isinstance(folded.layer1[0].bn1, torch.nn.Identity)


def test_each_loss_learns_from_the_teacher_that_it_names_at_its_own_size(recipe_of, tmp_path, two):
    setup = set_up(recipe_of(losses=TWO_LOSSES, teachers=two), "cpu", tmp_path)
    passes, losses, batch = first_losses(setup)
    assert [view.shape[-1] for view in (batch.pixels, *batch.others)] == [32, 32, 24]
    student = setup.objective.student(setup.normalise(batch.pixels))
    for method, passed in ((setup.objective.methods[1], passes[0]), (setup.objective.methods[2], passes[1])):
        alone = method(student, passed, batch.labels, batch.indices)
        torch.testing.assert_close(losses[method.name], alone[method.name])
    assert passes[1].features is not None
    assert passes[0].features is None  # no loss that learns from it needs them


def test_without_a_name_the_logits_are_averaged(recipe_of, tmp_path, two):
    setup = set_up(recipe_of(losses=KD, teachers=two), "cpu", tmp_path)
    passes, losses, batch = first_losses(setup, (1.0, 1.0))
    mean = Pass((passes[0].logits + passes[1].logits) / 2)
    student = setup.objective.student(setup.normalise(batch.pixels))
    expected = setup.objective.methods[1](student, mean, batch.labels, batch.indices)
    torch.testing.assert_close(losses["kd"], expected["kd"])
    assert averaged(passes[:1]) is passes[0]


def test_one_method_twice_under_names_of_its_own(recipe_of, tmp_path, two):
    losses = [
        {"method": "ce"},
        {"method": "kd", "name": "soft", "teacher": "good", "temperature": 8},
        {"method": "kd", "name": "hard", "teacher": "other", "temperature": 1},
    ]
    setup = set_up(recipe_of(losses=losses, teachers=two), "cpu", tmp_path)
    _, found, _ = first_losses(setup)
    assert list(found) == ["total", "ce", "soft", "hard"]
    assert found["soft"] != found["hard"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"losses": [*KD, {"method": "kd"}]}, r"losses: 'kd' stands there 2 times; give each a `name`"),
        ({"losses": [{"method": "ce"}, {"method": "kd", "teacher": "bad"}]}, r"kd learns from 'bad'; `teachers` names"),
        ({"losses": [{"method": "ce", "name": "total"}]}, r"a result would be called 'total'"),
        ({"losses": [{"method": "ce", "teacher": "good"}, {"method": "kd"}]}, r"ce learns from no teacher; leave its"),
        ({"losses": [{"method": "ce"}, {"method": "exp_kd"}]}, r"exp_kd compares more than logits, .* \(good, other\)"),
        ({"losses": [{"method": "ce"}, {"method": "kd", "teacher": "good"}]}, r"teacher: no loss reads other"),
        ({"teacher": {"model": "embedded"}}, r"teacher: found beside `teachers`; give one of the two"),
    ],
)
def test_what_teachers_cannot_be_is_one_line(tmp_path, cifar10, two, changes, message):
    values = values_of(cifar10, **{"losses": KD, "teachers": two, **changes})
    if changes.get("losses") == [{"method": "ce", "name": "total"}]:
        values.pop("teachers")
    with pytest.raises(XkdError, match=message) as error:
        train(values, tmp_path / "run", device="cpu")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run" / "last.pt").exists()


def reordered(checkpoint, order, names):
    """The same teacher with its classes in another order, some of them unknown to the data."""
    state = dict(checkpoint.state_dict)
    for name in ("linear.weight", "linear.bias"):
        state[name] = state[name][order]
    arguments = {**checkpoint.arguments, "num_classes": len(order)}
    return dataclasses.replace(checkpoint, state_dict=state, arguments=arguments, class_names=names)


def test_classes_in_another_order_and_more_of_them_are_joined_by_name(recipe_of, tmp_path, teacher):
    checkpoint = read_checkpoint(teacher)
    order = [3, 0, 1, 2, 9, 8, 7, 6, 5, 4, 0, 1]
    names = tuple([f"class {index}" for index in order[:10]] + ["unheard of", "nor this"])
    save_checkpoint(reordered(checkpoint, order, names), tmp_path / "more.pt")
    results = {}
    for name, model in (("own", teacher), ("more", tmp_path / "more.pt")):
        losses = [*KD, {"method": "exp_kd", "weight": 100}]
        recipe = recipe_of(losses=losses, teacher={"model": str(model)}, epochs=1)
        results[name] = train(recipe, tmp_path / name, device="cpu").result
    assert results["more"]["teachers"]["teacher"] == pytest.approx(results["own"]["teachers"]["teacher"], rel=1e-5)
    assert results["more"]["teachers"]["teacher"]["test_top1"] > 0.9
    for loss in ("kd", "exp_kd"):
        assert results["more"]["last"][loss] == pytest.approx(results["own"]["last"][loss], rel=1e-4)


def classifier_of(names):
    return load_classifier("embedded").__class__(
        torch.nn.Identity(), load_classifier("embedded").preprocess, name="t", num_classes=len(names), class_names=names
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "places"),
    [
        (("a", "b"), ("a", "b"), None),
        (("a", "b"), ("B", "A"), [1, 0]),
        (("a", "b_c"), ("x", "b c", "a"), [2, 1]),
        (("hen", "cock"), ("cock, rooster", "hen"), [1, 0]),
        (("a", "b"), ("a", "other word"), None),
    ],
)
def test_places_by_name(ours, theirs, places):
    assert class_places(Classes(len(ours), ours), classifier_of(theirs)) == places


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (("a", "b"), ("b", "x", "y"), r"^teacher: t does not know 1 of the 2 classes of the data \('a'\); give"),
        (("hen", "rooster"), ("hen, rooster", "x"), r"^teacher: t has one class for 'hen', 'rooster'"),
    ],
)
def test_classes_that_the_teacher_has_not_are_named(ours, theirs, message):
    with pytest.raises(XkdError, match=message):
        class_places(Classes(len(ours), ours), classifier_of(theirs))


def test_a_teacher_that_is_not_better_than_guessing_stops_the_training(recipe_of, tmp_path, teacher):
    wrong = {"model": str(teacher), "preprocess": {"mean": [0.0, 0.0, 0.0], "std": [50.0, 50.0, 50.0]}}
    recipe = recipe_of(losses=KD, teacher=wrong, epochs=1)
    measured = r"right on \d+\.\d % of 100 test images, which guessing explains \(10\.0 %\); its input was 32x32 BGR, "
    source = r".* std 50 50 50 \(mean, std: option; the rest: checkpoint\): .*; `force` trains all the same$"
    with pytest.raises(XkdError, match=f"^teacher: [^ ]+ is {measured}{source}"):
        train(recipe, tmp_path / "run", device="cpu")
    assert train(recipe, tmp_path / "run", device="cpu", force=True).result["teachers"]["teacher"]["test_top1"] < 0.15


def answers(classifier, images):
    """(N, K) logits of photographs, as one who has never seen this code would compute them."""
    pixels = torch.stack([classifier.preprocess.pixels(image) for image in images])
    return classifier(classifier.preprocess.normalise(pixels))


@pytest.mark.parametrize("loader", ["device", "workers"])
@pytest.mark.parametrize("val_split", [0.0, 0.3])
def test_what_is_recorded_of_student_and_teachers_is_what_evaluate_says(
    recipe_of, tmp_path, few_images, two, loader, val_split
):
    """Teachers of other sizes, whatever the split, the loader and the precision."""
    data = {"loader": loader, "path": str(few_images), "val_split": val_split}
    data |= {"workers": 0} if loader == "workers" else {}
    recipe = recipe_of(data=data, losses=TWO_LOSSES, teachers=two, precision="bf16", epochs=1)
    result = train(recipe, tmp_path / "run", device="cpu").result
    ours = result[result["student"]]
    student = evaluate(tmp_path / "run" / STUDENT, few_images).models[0].scores
    for name, value in student.to_dict().items():
        assert name == "n_images" or ours[f"test_{name}"] == pytest.approx(value, rel=1e-6), name
    for name, named in two.items():
        told = evaluate(named["model"], few_images).models[0].scores.to_dict()
        recorded = result["teachers"][name]
        assert recorded["test_top1"] == told["top1"]
        assert recorded["test_loss"] == pytest.approx(told["loss"], rel=1e-6)
        assert ("val_top1" in recorded) == (val_split > 0)
    # Of two teachers, agreement is with the class of their averaged logits.
    dataset = open_dataset(few_images, split="test")
    images = [dataset.load(place).image for place in range(len(dataset))]
    good, other = (named["model"] for named in two.values())
    student, *logits = (answers(load_classifier(path), images) for path in (tmp_path / "run" / STUDENT, good, other))
    agreement = (torch.stack(logits).mean(0).argmax(1) == student.argmax(1)).double().mean().item()
    assert ours["test_agreement"] == pytest.approx(agreement)


def test_a_teacher_of_other_data_is_refused_by_its_classes(tmp_path, teacher):
    folder = write_cifar10(tmp_path)
    meta = folder / "batches.meta"
    meta.write_bytes(pickle.dumps({"label_names": [f"kind {index}" for index in range(10)]}))
    with pytest.raises(XkdError, match=r"does not know 10 of the 10 classes of the data \('kind 0'"):
        train(values_of(folder, losses=KD, teacher={"model": str(teacher)}), tmp_path / "run", device="cpu")
