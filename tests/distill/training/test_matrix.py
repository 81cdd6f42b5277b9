"""Every loss x every family of students x validation images, a teacher of another size, workers, two processes: two
steps, or a sentence.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml

from distill.runs.outcome_file import read_result
from distill.training.setup import set_up
from distill.training.train import train
from tests.distill.conftest import weights_of
from tests.distill.processes import run_by_two
from tests.distill.training import matrix_processes
from tests.distill.training.matrix import LOSSES, STUDENTS, loss_of, values_for, write_images, write_teachers
from xkd_eval.errors import XkdError

MAPS = ("sdd", "simkd", "cat_kd", "e2kd", "exp_kd")
"""Losses on the last map, which a ViT's logits do not follow from."""

NO_TOKEN = "student: {} has no distillation token, which a method needs"
NO_MAP = "{} has no CAM head, which a method needs: a token model"
REFUSED = {
    **{(student, "token_kd"): NO_TOKEN.format(STUDENTS[student][0]) for student in STUDENTS},
    **{("vit", loss): "student: " + NO_MAP.format("timm/vit_tiny_patch16_224") for loss in MAPS},
}
"""(student, loss) -> how the sentence begins, of a teacher that is a ResNet; all others train."""

OFTEN = ("resnet", "vit")
"""With statistics of a batch, and without. The other students are `long`, and are not trained by two processes."""


def kinds(*values: object) -> object:
    """A case, the student first."""
    return pytest.param(*values, marks=[] if values[0] in OFTEN else pytest.mark.long)


CELLS = [kinds(student, loss) for student in STUDENTS for loss in LOSSES]


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def teachers(tmp_path_factory) -> dict[str, Path]:
    return write_teachers(tmp_path_factory.mktemp("teachers"))


@pytest.fixture
def at_first(monkeypatch) -> dict[str, torch.Tensor]:
    """The weights of the student that is trained next, before its first step."""
    kept: dict[str, torch.Tensor] = {}

    def keeping(*arguments):
        setup = set_up(*arguments)
        kept.update({name: value.clone() for name, value in setup.student.model.named_parameters()})
        return setup

    monkeypatch.setattr("distill.training.train.set_up", keeping)
    return kept


def check_trained(result: dict, directory: Path, at_first: dict[str, torch.Tensor]) -> None:
    """All that was measured is finite, and what is written differs from what it began with."""
    measured = [value for epoch in ("last", "best") for value in result[epoch].values()]
    assert all(math.isfinite(value) for value in measured)
    weights = weights_of(directory)
    assert any(not torch.equal(weights[name], value) for name, value in at_first.items())


@pytest.mark.parametrize(("student", "loss"), CELLS)
def test_every_loss_teaches_every_student_beside_validation_images(images, teachers, at_first, tmp_path, student, loss):
    """The loss alone, so that nothing else moves the student; the teacher at another size than it."""
    values = values_for(student, [loss_of(loss)], images, teachers["resnet"])
    try:
        result = train(values, tmp_path / "run", device="cpu", force=True).result
    except XkdError as error:
        assert str(error).startswith(REFUSED.get((student, loss), "nothing"))
        assert "\n" not in str(error)
        return
    assert (student, loss) not in REFUSED
    assert result["best_on"] == "held-out training images"
    assert any(name.startswith(loss) and value != 0 for name, value in result["last"].items())
    check_trained(result, tmp_path / "run", at_first)


OF_A_VIT = [loss for loss in LOSSES if loss not in (*MAPS, "token_kd")]


@pytest.mark.parametrize("student", [kinds(student) for student in STUDENTS])
def test_all_losses_at_once_by_workers_and_a_vit(images, teachers, at_first, tmp_path, student):
    """Without validation images; the teacher is larger than all students."""
    data = {"loader": "workers", "workers": 0, "path": str(images), "flip": True}
    values = values_for(student, [loss_of(loss, weight=0.01) for loss in OF_A_VIT], images, teachers["vit"], data=data)
    result = train(values, tmp_path / "run", device="cpu", force=True).result
    assert all(any(name.startswith(loss) for name in result["last"]) for loss in OF_A_VIT)
    check_trained(result, tmp_path / "run", at_first)


@pytest.mark.parametrize("loss", MAPS)
def test_losses_on_the_last_map_refuse_a_vit_that_teaches(images, teachers, tmp_path, loss):
    with pytest.raises(XkdError) as error:
        train(values_for("plain", [loss_of(loss)], images, teachers["vit"]), tmp_path / "run", device="cpu")
    assert str(error.value).startswith("teacher: " + NO_MAP.format("vit"))
    assert "\n" not in str(error.value)


ALONE = ("crd", "vitkd")
"""A memory lives in one process, and what is masked is drawn in each."""


@pytest.fixture(scope="module")
def by_processes(images, teachers, tmp_path_factory) -> Path:
    """What `matrix_processes` leaves of all losses that teach each student at once, and of two alone, by one process
    and by two.
    """
    folder = tmp_path_factory.mktemp("processes")
    recipes = {
        student: [loss_of(loss, weight=0.01) for loss in LOSSES if (student, loss) not in REFUSED and loss not in ALONE]
        for student in OFTEN
    }
    recipes |= {loss: [loss_of(loss)] for loss in ("fitnet", "crd")}
    for name, losses in recipes.items():
        values = values_for(name if name in STUDENTS else "resnet", losses, images, teachers["resnet"])
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({"recipe": values}))
    files = [str(folder / f"{name}.yaml") for name in recipes]
    matrix_processes.main(files)
    run_by_two("-m", matrix_processes.__name__, *files)
    return folder


@pytest.mark.parametrize("student", [*OFTEN, "fitnet"])
def test_two_processes_have_the_gradients_of_one_for_every_loss(by_processes, student):
    one, two = (torch.load(by_processes / f"{student}.yaml-{processes}.pt") for processes in (1, 2))
    assert one.keys() == two.keys()
    for loss, gradients in one.items():
        largest = max(gradient.abs().max() for gradient in gradients.values())
        assert largest > 0, loss
        for name, gradient in gradients.items():
            # Distances between images amplify the rounding of a sum in another order, and some gradients vanish.
            tolerance = 1e-4 * gradient.abs().max() + 1e-6 * largest
            assert (gradient - two[loss][name]).abs().max() <= tolerance, (loss, name)


@pytest.mark.parametrize("student", [*OFTEN, "fitnet"])
def test_two_processes_train_on_all_losses_at_once(by_processes, student):
    """Each with its half of a batch; the teacher of another size, and validation images that select the epoch.

    fitnet alone leaves the head without a gradient.
    """
    one, two = (read_result(by_processes / f"{student}.yaml-{processes}") for processes in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["last"].keys() == two["last"].keys()
    assert all(math.isfinite(value) for epoch in ("last", "best") for value in two[epoch].values())
    assert two["teachers"] == one["teachers"]


def test_a_loss_with_a_memory_refuses_two_processes(by_processes):
    refused = (by_processes / "crd.yaml-2.txt").read_text()
    assert refused.startswith("losses: crd: 2 processes found; its memory lives in one")
