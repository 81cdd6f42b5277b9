"""What a comparison refuses, each in one line: models, names, options, tests and run directories."""

import pytest

from xkd_eval import compare, evaluate, perturbation_test, segmentation_test
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.segmentation.test import SegmentationTest


def test_runs_of_other_rules_or_images_are_refused_with_the_fields(images, tmp_path):
    perturbation_test("embedded/exp_kd", images, output=tmp_path / "a", direction="positive")
    perturbation_test("embedded/plain", images, output=tmp_path / "b", direction="positive", fill="mean")
    with pytest.raises(XkdError, match=r"these differ: protocol.hash, protocol.fill"):
        compare([tmp_path / "a", tmp_path / "b"])
    perturbation_test("embedded/plain", images, output=tmp_path / "c", direction="positive", limit=10)
    with pytest.raises(XkdError, match=r"these differ: data.digest"):
        compare([tmp_path / "a", tmp_path / "c"])


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["embedded/plain"], "1 model given; expected at least two"),
        (["embedded/plain", "none.pt"], "none.pt"),
    ],
)
def test_bad_input_is_one_line(models, message):
    with pytest.raises(XkdError, match=message):
        compare(models)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (["embedded/teacher", "random=embedded/plain"], "one is called 'random', as a floor is"),
        ({"t": ["embedded/teacher", "embedded/kd"], "b": "embedded/plain"}, "t is the reference and has several seeds"),
        ({"t": "embedded/teacher", "kd": ["embedded/kd"] * 2, "kd (1)": "embedded/kd"}, "two are called"),
    ],
)
def test_names_that_stand_for_two_things_are_refused(models, message):
    with pytest.raises(XkdError, match=message):
        compare(models)


def test_an_option_that_nothing_reads_is_refused(images):
    with pytest.raises(XkdError, match="targt: unknown option; nearest: target"):
        compare(["embedded/teacher", "embedded/plain"], images, targt="true")


@pytest.mark.parametrize("name", ["maps", "save_maps", "figures"])
def test_what_a_comparison_makes_itself_is_no_option(images, name):
    with pytest.raises(XkdError, match=f"^{name}: a comparison makes its own"):
        compare(["embedded/teacher", "embedded/plain"], images, **{name: "there"})


@pytest.mark.parametrize("function", [compare, evaluate])
def test_no_test_at_all_is_refused_by_that_word(images, function):
    with pytest.raises(XkdError, match=r"^tests: none given; expected some of perturbation"):
        function(["embedded/teacher", "embedded/plain"], images, tests=[])


def test_tests_may_be_one_and_must_say_something_of_a_model_alone(images):
    models = ["embedded/teacher", "embedded/plain"]
    found = compare(models, images, tests="segmentation", floors=False, limit=4)
    assert set(found.scores["test"]) == {"segmentation"}
    with pytest.raises(XkdError, match="tests: agreement says nothing of a model alone"):
        compare(models, images, tests=["agreement"], limit=4)


@pytest.mark.parametrize(
    "option",
    [{"limit": 2}, {"data": "embedded/other"}, {"explainer": "random"}, {"tests": "segmentation"}, {"floors": False}],
)
def test_run_directories_take_no_option_of_what_is_computed(images, tmp_path, option):
    for name in ("plain", "kd"):
        segmentation_test(f"embedded/{name}", images, output=tmp_path / name, limit=4, figures=False)
    with pytest.raises(XkdError, match=f"^{next(iter(option))}: nothing is computed again"):
        compare([tmp_path / "plain", tmp_path / "kd"], **option)


def test_options_that_none_of_the_chosen_tests_takes_are_refused(images):
    models = ["embedded/teacher", "embedded/plain"]
    with pytest.raises(XkdError, match=r"^fractions: none of the tests takes it, as perturbation and .* would"):
        compare(models, images, tests="segmentation", fractions=(0.0, 0.5, 1.0))


def test_two_tests_of_one_kind_are_refused(images):
    models = ["embedded/teacher", "embedded/plain"]
    with pytest.raises(XkdError, match=r"^tests: a comparison has one of a kind"):
        compare(models, images, tests=["perturbation:fill=blur", "perturbation"])


def test_directories_of_two_tests_are_refused(images, tmp_path):
    perturbation_test("embedded/plain", images, output=tmp_path / "p", figures=False)
    segmentation_test("embedded/plain", images, output=tmp_path / "s", figures=False)
    with pytest.raises(XkdError, match=r"one test expected; found p \(perturbation\), s \(segmentation\)"):
        compare([tmp_path / "p", tmp_path / "s"])


def test_runs_of_one_name_have_one_kind_of_maps(images, tmp_path):
    for explainer in ("cam", "gradcam"):
        segmentation_test(
            "embedded/kd", images, explainer=explainer, output=tmp_path / explainer, limit=4, figures=False
        )
    runs = {"teacher": tmp_path / "cam", "kd": [tmp_path / "cam", tmp_path / "gradcam"]}
    with pytest.raises(XkdError, match=r"^models: the runs called kd have maps of cam and gradcam"):
        compare(runs)


def test_a_class_is_a_test_and_masks_that_nothing_needs_are_refused(images):
    models = ["embedded/teacher", "embedded/plain"]
    assert set(compare(models, images, tests=SegmentationTest, floors=False, limit=4).scores["test"]) == {
        "segmentation"
    }
    with pytest.raises(XkdError, match=r"^masks: none of the tests needs them \(perturbation\)"):
        compare(models, images, tests="perturbation", masks=images, limit=4)
