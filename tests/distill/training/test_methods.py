"""Every method trains a student, on its own networks' passes."""

import pytest

from distill.recipe.parse import parse_recipe
from distill.training.train import train
from tests.distill.conftest import FEWEST, values_of
from xkd_eval import load_classifier

TAPS = ["layer1.0.bn2", "before layer2.0.relu2", "layer3.0.bn2"]


@pytest.mark.parametrize("method", ["kd", "dkd", "dist", "fitnet", "at", "sp", "rkd", "crd", "reviewkd", "cat_kd"])
def test_every_method_trains(few_images, tmp_path, teacher, method):
    # crd's own 16,384 negatives an image are 7 s of gathering.
    options = {"negatives": 256} if method == "crd" else {}
    check_trains(few_images, tmp_path, teacher, method, **options)


@pytest.mark.parametrize(
    "method",
    ["sdd", "e2kd", "explanation_kd", "exp_kd", "pkt", "nst", "ttm", "wttm", "mlkd", "vid", "srd"],
)
def test_every_other_method_trains(few_images, tmp_path, teacher, method):
    check_trains(few_images, tmp_path, teacher, method)


@pytest.mark.parametrize("options", [{}, {"student_taps": TAPS, "teacher_taps": TAPS}], ids=["default", "listed"])
def test_ofd_trains_on_what_precedes_an_activation(few_images, tmp_path, teacher, options):
    check_trains(few_images, tmp_path, teacher, "ofd", **options)


def check_trains(few_images, tmp_path, teacher, method, **options):
    losses = [{"method": "ce"}, {"method": method, "weight": 0.01, **options}]
    taught = {"losses": losses, "teacher": {"model": str(teacher)}}
    data = values_of(few_images)["data"] | FEWEST
    recipe = parse_recipe(values_of(few_images, data=data, **taught, epochs=1, precision="bf16"))
    result = train(recipe, tmp_path / "run", device="cpu").result
    assert any(name.startswith(method) and value > 0 for name, value in result["last"].items())
    assert 0 <= result["last"]["test_agreement"] <= 1
    student = load_classifier(tmp_path / "run" / "student.pt")
    assert {name.partition(".")[0] for name in student.model.state_dict()} == {
        "conv1", "bn1", "layer1", "layer2", "layer3", "linear"
    }  # fmt: skip
