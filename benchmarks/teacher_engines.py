"""A step of kd and of exp_kd with the frozen teacher on each engine, beside torch: images a second, and what is gained.

    OMP_NUM_THREADS=1 python benchmarks/teacher_engines.py --rounds 5 --steps 3
    OMP_NUM_THREADS=2 python benchmarks/teacher_engines.py --rounds 5 --steps 3

ResNet-56 teaches ResNet-20, 32x32, random images and weights: no time depends on them. Every round runs all engines one
after the other in another order; a ratio is the median over the rounds of the ratio within a round. Of one thread the
processor's own time is taken, which other processes hardly change. Making an engine of a network is not in these times;
it is said beside them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from distillation import RECIPES, write_cifar100
from race import race, ratio

from distill.recipe.files import load_recipe
from distill.training.setup import TrainingSetup, set_up
from distill.training.step import OrdinaryStep
from xkd_eval.classifiers import architectures
from xkd_eval.engines.base import ENGINES
from xkd_eval.engines.plan import TORCH

METHODS = ("kd", "exp_kd")


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batches", default="64,128", help="sizes of a batch")
    given = parser.parse_args()
    sizes = [int(size) for size in given.batches.split(",")]
    engines = [TORCH, *(name for name, kind in ENGINES.items() if kind().is_installed)]
    said = ", ".join(f"{name} {ENGINES[name]().version}" for name in engines[1:])
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {said}\n")
    print(f"| step, batch | {' | '.join(engines)} | seconds to make them |\n|---|{'---:|' * (len(engines) + 1)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write_cifar100(folder, max(sizes) * (given.steps + 1))
        torch.manual_seed(0)
        torch.save(architectures.build("resnet56", num_classes=100).state_dict(), folder / "resnet56.pth")
        _set_up(METHODS[0], sizes[0], TORCH, data, folder)  # what is imported for it is not an engine's time
        for size in sizes:
            for method in METHODS:
                _compare(method, size, engines, data, folder, given.steps, given.rounds)


def _compare(method: str, size: int, engines: list[str], data: Path, folder: Path, steps: int, rounds: int) -> None:
    made, setups = {}, {}
    for engine in engines:
        began = time.perf_counter()
        setups[engine] = _set_up(method, size, engine, data, folder)
        made[engine] = time.perf_counter() - began
    more = ", ".join(f"{made[engine] - made[TORCH]:.0f}" for engine in engines[1:])
    steppers = {f"{method}, {size}": _step, **({f"the teacher alone, {size}": _teacher} if method == "kd" else {})}
    for name, make in steppers.items():
        times = race({engine: _timed(make(setups[engine]), steps) for engine in engines}, rounds)
        cells = [
            f"{size * steps / statistics.median(found):.0f} ({ratio(times[TORCH], found):.2f} x)"
            for found in times.values()
        ]
        print(f"| {name} | {' | '.join(cells)} | {more} |", flush=True)


def _set_up(method: str, size: int, engine: str, data: Path, folder: Path) -> TrainingSetup:
    teacher = ["teacher.model=xkd/resnet56", f'teacher.weights="{folder / "resnet56.pth"}"', f"teacher.engine={engine}"]
    recipe = load_recipe(RECIPES[method], [f'data.path="{data}"', f"batch_size={size}", *teacher])
    return set_up(recipe, "cpu", folder)


def _step(setup: TrainingSetup) -> Callable[[int], object]:
    step, weights, rate = OrdinaryStep(setup), setup.objective.weights(epoch=1), setup.recipe.optimiser.learning_rate
    setup.wrapped.train()
    return lambda number: step(step.input(0, number), rate, weights)


def _teacher(setup: TrainingSetup) -> Callable[[int], object]:
    batch, teachers = next(iter(setup.train.batches(0, 0))), setup.teachers
    assert teachers is not None
    return lambda number: teachers(batch)


def _timed(run: Callable[[int], object], steps: int) -> Callable[[], float]:
    """Seconds of so many calls, after one that is not counted."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def measure() -> float:
        run(0)
        began = clock()
        for number in range(1, steps + 1):
            run(number)
        return clock() - began

    return measure


if __name__ == "__main__":
    main()
