"""A training step of ce, kd and exp_kd; the CAM loss against the broadcast product; our loop against a plain one.

    python benchmarks/distillation.py --rounds 3
    python benchmarks/distillation.py --methods all      # what a step of `ce` and each other loss costs, over kd's

ResNet-56 teaches ResNet-20, batch 64, 32x32, random images and weights: no time depends on them. Every round runs all
contestants one after the other in another order; a ratio is the median over the rounds of the ratio within a round.
Memory is the peak of what torch allocates over the inputs, by its profiler.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, count
from pathlib import Path

import numpy as np
import torch
from race import race, ratio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from distill.methods import METHODS, create_method
from distill.methods.exp_kd import exp_kd_loss
from distill.methods.kd import kd_loss
from distill.recipe.files import load_recipe
from distill.training.captured_step import CapturedStep
from distill.training.setup import TrainingSetup, set_up
from distill.training.step import OrdinaryStep, Step
from xkd_eval.cam import class_activation_maps
from xkd_eval.classifiers import architectures

BATCH = 64
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
RECIPES = {
    "ce": "ce/cifar100/resnet20",
    "kd": "kd/cifar100/resnet56-resnet20",
    "exp_kd": "exp-kd/cifar100/resnet56-resnet20",
}
OF_OTHER_NETWORKS = ("token_kd", "vitkd")  # vision transformers
PLAIN = "kd, plain loop"
STEPS_BEFORE = 5  # of which a captured step takes the fourth to be recorded


def main() -> None:
    """Print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    methods = "losses, or the optimiser dot beside kd, with a comma between them, or `all`; in place of all else"
    parser.add_argument("--methods", help=methods)
    arguments = parser.parse_args()
    print(
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"{'GPU' if torch.cuda.is_available() else 'CPU'}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        if arguments.methods:
            _compare_methods(Path(folder), _names(arguments.methods), arguments.steps, arguments.rounds)
            return
        _compare_steps(Path(folder), arguments.steps, arguments.rounds)
    _compare_cam_losses(arguments.rounds)


def _compare_steps(folder: Path, steps: int, rounds: int) -> None:
    data = write_cifar100(folder, BATCH * (steps + STEPS_BEFORE))
    torch.manual_seed(0)
    teacher = architectures.build("resnet56", num_classes=100)
    torch.save(teacher.state_dict(), folder / "resnet56.pth")
    contestants: dict[str, Callable[[], float]] = {}
    for name, recipe in RECIPES.items():
        contestants[name] = _ours(recipe, data, folder, steps, OrdinaryStep)
        if torch.cuda.is_available():
            contestants[f"{name}, captured"] = _ours(recipe, data, folder, steps, CapturedStep)
    contestants[PLAIN] = _plain(data, teacher, steps)
    times = race(contestants, rounds)
    print("| step of ResNet-56 -> ResNet-20, batch 64 | images/s |\n|---|---:|")
    for name, seconds in times.items():
        print(f"| {name} | {BATCH * steps / statistics.median(seconds):.0f} |")
    print(f"\nexp_kd: {ratio(times['kd'], times['exp_kd']):.3f} x the images/s of kd")
    print(f"\nkd: {ratio(times[PLAIN], times['kd']):.2f} x the images/s of the plain loop\n")


def _compare_methods(folder: Path, names: Sequence[str], steps: int, rounds: int) -> None:
    data = write_cifar100(folder, BATCH * (steps + STEPS_BEFORE))
    torch.manual_seed(0)
    torch.save(architectures.build("resnet56", num_classes=100).state_dict(), folder / "resnet56.pth")
    # A processor's own time, where there is no GPU: other processes take little of it.
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    contestants = {
        name: _ours(RECIPES["kd"], data, folder, steps, OrdinaryStep, clock, _chosen(name))
        for name in dict.fromkeys(["kd", *names])
    }
    times = race(contestants, rounds)
    print("| step of ResNet-56 -> ResNet-20, batch 64 | x kd's |\n|---|---:|")
    for name in contestants:
        print(f"| {name} | {ratio(times[name], times['kd']):.2f} |")


def _names(given: str) -> Sequence[str]:
    if given != "all":
        return given.split(",")
    return [*(name for name in METHODS.names() if METHODS.is_own(name) and name not in OF_OTHER_NETWORKS), "dot"]


def _chosen(name: str) -> Sequence[str]:
    """What makes kd's recipe one of another loss, or of another optimiser."""
    if name == "dot":
        return ["optimiser.name=dot"]
    losses = "[{method: ce}]" if name == "ce" else f"[{{method: ce}}, {{method: {name}}}]"
    alone = not create_method(name).requires  # of any network
    return [f"losses={losses}", *(["teacher=null"] if alone else [])]


def _ours(
    name: str,
    data: Path,
    folder: Path,
    steps: int,
    make_step: Callable[[TrainingSetup], Step],
    clock: Callable[[], float] = time.perf_counter,
    changes: Sequence[str] = (),
) -> Callable[[], float]:
    overrides = [f'data.path="{data}"']
    if name != RECIPES["ce"]:
        overrides += ["teacher.model=xkd/resnet56", f'teacher.weights="{folder / "resnet56.pth"}"']
    recipe = load_recipe(name, [*overrides, *changes])
    setup = set_up(recipe, "auto", folder)
    step, weights = make_step(setup), setup.objective.weights(epoch=1)

    def measure() -> float:
        setup.wrapped.train()
        numbers = count()
        rate = recipe.optimiser.learning_rate
        return timed(lambda: step(step.input(0, next(numbers)), rate, weights), steps, clock)

    return measure


def _plain(data: Path, teacher: nn.Module, steps: int) -> Callable[[], float]:
    """Worker processes, PIL augmentation image by image, metrics brought to the CPU in every step."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    augment = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    images = datasets.CIFAR100.__new__(datasets.CIFAR100)
    content = pickle.loads((data / "train").read_bytes())
    images.data = content["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    images.targets, images.transform, images.target_transform = content["fine_labels"], augment, None
    student = architectures.build("resnet20", num_classes=100).to(device)
    teacher = teacher.to(device).eval()
    optimiser = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    observed: list[float] = []

    def measure() -> float:
        student.train()
        loader = iter(DataLoader(images, batch_size=BATCH, shuffle=True, num_workers=2))

        def step() -> None:
            pixels, labels = (values.to(device) for values in next(loader))
            logits = student(pixels)
            with torch.no_grad():
                answers = teacher(pixels)
            loss = 0.1 * F.cross_entropy(logits, labels) + 0.9 * kd_loss(logits, answers, 4.0)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            hits = logits.topk(5, dim=1).indices == labels[:, None]
            observed.extend(
                [loss.cpu().item(), hits[:, 0].float().mean().cpu().item(), hits.any(1).float().mean().cpu().item()]
            )

        return timed(step, steps)

    return measure


def timed(step: Callable[[], object], steps: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of so many calls, after some that are not counted."""
    for _ in range(STEPS_BEFORE):
        step()
    _wait()
    start = clock()
    for _ in range(steps):
        step()
    _wait()
    return clock() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def write_cifar100(folder: Path, n_images: int) -> Path:
    """Noise in the layout of the published archive."""
    data = folder / "cifar-100-python"
    data.mkdir()
    names = [f"class {number}" for number in range(100)]
    (data / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": names[:20]}))
    generator = np.random.default_rng(0)
    for split, size in (("train", n_images), ("test", 100)):
        labels = [number % 100 for number in range(size)]
        pixels = generator.integers(0, 256, (size, 3072), dtype=np.uint8)
        content = {"data": pixels, "fine_labels": labels, "coarse_labels": [0] * size}
        (data / split).write_bytes(pickle.dumps(content))
    return data


def _broadcast_cams(features: Tensor, weight: Tensor) -> Tensor:
    """(B, C, h, w), (K, C) -> (B, K, h, w) by the product (B, K, C, h, w), as the published code has it."""
    return (features[:, None] * weight[None, :, :, None, None]).sum(2)


CAMS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "1x1 convolution (ours)": lambda features, weight: class_activation_maps(features, weight),
    "broadcast product": _broadcast_cams,
}


def _cam_loss(cams: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, int, int, int]) -> Callable[[], None]:
    images, classes, channels, side = shape
    student, teacher = (torch.randn(images, channels, side, side) for _ in range(2))
    weight = torch.randn(classes, channels)
    student.requires_grad_()

    def run() -> None:
        with torch.no_grad():
            target = cams(teacher, weight).div(channels).clamp(min=0)
        loss = exp_kd_loss(cams(student, weight).div(channels).clamp(min=0), target)
        torch.autograd.grad(loss, student)

    return run


def _peak(name: str, shape: tuple[int, int, int, int]) -> float:
    """MiB of tensors that torch allocates over the inputs at the worst moment."""
    run = _cam_loss(CAMS[name], shape)
    run()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    assert profiler.profiler is not None
    assert profiler.profiler.kineto_results is not None
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(sizes)) / 2**20


def _compare_cam_losses(rounds: int) -> None:
    cifar, imagenet = (64, 100, 256, 8), (256, 1000, 2048, 7)
    contestants = {name: _repeated(_cam_loss(cams, cifar)) for name, cams in CAMS.items()}
    times = race(contestants, rounds)
    memory = {name: _peak(name, cifar) for name in CAMS}
    print("| CAM loss, B=64, K=100, C=256, 8x8 | ms | peak memory over its inputs, MiB |\n|---|---:|---:|")
    for name, seconds in times.items():
        print(f"| {name} | {1000 * statistics.median(seconds):.1f} | {memory[name]:.0f} |")
    ours, theirs = CAMS
    print(
        f"\nours: {ratio(times[theirs], times[ours]):.1f} x as fast, {memory[ours] / memory[theirs]:.1%} of the memory"
    )
    print(f"\nB=256, K=1000, C=2048, 7x7: ours takes {_peak(ours, imagenet):.0f} MiB over its inputs")


def _repeated(run: Callable[[], None], times: int = 3) -> Callable[[], float]:
    def measure() -> float:
        run()
        start = time.perf_counter()
        for _ in range(times):
            run()
        return (time.perf_counter() - start) / times

    return measure


if __name__ == "__main__":
    main()
