"""Eight students of one teacher in step, beside the same eight one after the other: students an hour.

    python benchmarks/together.py --rounds 5

ResNet-56 teaches ResNet-20, batch 64, 32x32, random images and weights: no time depends on them. Each round takes the
same steps of all students in both ways, in another order; the ratio is the median over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from distillation import BATCH, STEPS_BEFORE, timed, write_cifar100
from race import race, ratio

from distill.recipe.files import load_recipe
from distill.recipe.schema import Recipe
from distill.training.lessons import Common
from distill.training.setup import TrainingSetup, accelerator_of, join, set_up
from distill.training.step import OrdinaryStep
from xkd_eval.classifiers import architectures

METHODS = ("kd", "dkd", "dist", "cat_kd", "exp_kd", "sp", "pkt", "rkd")


def main() -> None:
    """Print students an hour of an epoch of CIFAR-100, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--precision", default="fp32")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_cifar100(folder, BATCH * (given.steps + STEPS_BEFORE))
        torch.manual_seed(0)
        torch.save(architectures.build("resnet56", num_classes=100).state_dict(), folder / "resnet56.pth")
        recipes = [_recipe(method, data, folder, given.precision) for method in METHODS]
        common = Common(recipes, accelerator_of("auto"), folder)
        contestants = {
            "one after the other": _alone([set_up(recipe, "auto", folder) for recipe in recipes], given.steps),
            "in step": _in_step([join(recipe, common, place) for place, recipe in enumerate(recipes)], given.steps),
        }
        times = race(contestants, given.rounds)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {given.precision}; {', '.join(METHODS)}\n")
    print("| eight students of one teacher | images/s a student | students an hour, 50,000 images an epoch |")
    print("|---|---:|---:|")
    for name, seconds in times.items():
        rate = len(METHODS) * BATCH * given.steps / statistics.median(seconds)
        print(f"| {name} | {rate:.0f} | {3600 * rate / 50_000:.1f} epochs |")
    print(f"\nin step: {ratio(times['one after the other'], times['in step']):.2f} x the students an hour")


def _recipe(method: str, data: Path, folder: Path, precision: str) -> Recipe:
    teacher = ["teacher.model=xkd/resnet56", f'teacher.weights="{folder / "resnet56.pth"}"']
    losses = f"losses=[{{method: ce}}, {{method: {method}}}]"
    overrides = [f'data.path="{data}"', *teacher, losses, f"precision={precision}"]
    return load_recipe("kd/cifar100/resnet56-resnet20", overrides)


def _alone(setups: Sequence[TrainingSetup], steps: int) -> Callable[[], float]:
    def measure() -> float:
        return sum(_run([setup], steps) for setup in setups)

    return measure


def _in_step(setups: Sequence[TrainingSetup], steps: int) -> Callable[[], float]:
    return lambda: _run(setups, steps)


def _run(setups: Sequence[TrainingSetup], steps: int) -> float:
    """Seconds of so many steps of each."""
    students = [(OrdinaryStep(setup), setup.objective.weights(epoch=1)) for setup in setups]
    number = 0
    for setup in setups:
        setup.wrapped.train()

    def step() -> None:
        nonlocal number
        for student, weights in students:
            student(student.input(0, number), 0.01, weights)
        number += 1

    return timed(step, steps)


if __name__ == "__main__":
    main()
