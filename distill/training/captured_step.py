"""One optimiser step on one GPU as a single CUDA graph: augmentation, teacher, student, losses, gradient and update.

Small networks at small batches are bound by the launches of their hundreds of operations, and a graph is launched once.
What it may not hold is a wait for the device. So whatever changes from step to step (the images, how they are cropped,
the learning rate, the weights that grow) reaches it in tensors that stay where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from distill.data.augmentation import BatchPlan
from distill.data.resident import ResidentTraining
from distill.recipe.optimisation import Sgd
from distill.training.optimisers import read_learning_rates_from_tensors, set_learning_rate
from distill.training.setup import TrainingSetup
from distill.training.step import differentiate, update
from distill.training.taught import Consecutive
from xkd_eval.errors import XkdError

# cuDNN chooses its kernels, and the optimiser makes its buffers, in steps that are not recorded.
_STEPS_BEFORE_CAPTURE = 3


class CapturedStep:
    """The step of OrdinaryStep on inputs that lie in fixed places: recorded once on a GPU, run as it is on a CPU.

    The first steps on a GPU are run as they are, too. They are steps of the training like any other. Each size of batch
    has a graph of its own.

    Args:
        setup: of a training that `check_capturable` lets pass, its optimiser's state restored.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        assert isinstance(setup.train, ResidentTraining)
        self._setup = setup
        self._images = setup.train
        self._inputs = Consecutive(setup.train.plans)
        device = setup.accelerator.device
        # One stream for all: autograd accumulates a gradient on the stream that first used its parameter.
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._weights = torch.zeros(len(setup.recipe.losses), device=device).unbind()
        read_learning_rates_from_tensors(setup.optimiser, device)
        self._plans: dict[int, BatchPlan] = {}
        self._runs: dict[int, Callable[[], dict[str, Tensor]]] = {}

    def input(self, epoch: int, step: int) -> BatchPlan:
        """See Step."""
        return self._inputs.at(epoch, step)

    def __call__(self, given: BatchPlan, learning_rate: float, weights: Sequence[float]) -> dict[str, Tensor]:
        """See Step."""
        size = len(given.indices)
        if size not in self._plans:  # an epoch's last batch may be smaller
            self._plans[size] = BatchPlan(*map(torch.empty_like, given))
            train = partial(self._train, self._plans[size])
            self._runs[size] = train if self._stream is None else _Graph(train, self._stream)
        for place, planned in zip(self._plans[size], given, strict=True):
            place.copy_(planned)
        set_learning_rate(self._setup.optimiser, learning_rate)
        for scalar, value in zip(self._weights, weights, strict=True):
            scalar.fill_(value)
        values = self._runs[size]()
        if self._setup.average is not None:
            self._setup.average.update_parameters(self._setup.student.model)
        return values

    def _train(self, plan: BatchPlan) -> dict[str, Tensor]:
        """One step on the tensors that stay in place: what the graph records. Returns scalars by name."""
        batch = self._images.cut(plan)
        # A weight that was cast in one run of this function must not be taken for the cast of another's.
        with self._setup.autocast(cache=False):
            teachers = () if self._setup.teachers is None else self._setup.teachers(batch)
            values = differentiate(self._setup, batch, teachers, self._weights)
        update(self._setup)
        return {name: value.detach() for name, value in values.items()}


class _Graph:
    """A function on fixed tensors, after its first calls as one launch.

    Args:
        function: takes nothing; returns what it made.
        stream: on a CUDA device.
    """

    def __init__(self, function: Callable[[], dict[str, Tensor]], stream: torch.cuda.Stream) -> None:
        self._function = function
        self._stream = stream
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._values: dict[str, Tensor] = {}

    def __call__(self) -> dict[str, Tensor]:
        if self._calls < _STEPS_BEFORE_CAPTURE:
            self._calls += 1
            return self._aside()
        if self._graph is None:
            self._graph = self._capture()
        self._graph.replay()
        return self._values

    def _aside(self) -> dict[str, Tensor]:
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            values = self._function()
        current.wait_stream(self._stream)
        return values

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Record the function, which computes nothing yet; its gradients and values live in the graph's memory."""
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._values = self._function()
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise XkdError(f"capture: the step cannot be recorded as a CUDA graph ({reason}); leave it out") from error
        return graph


def check_capturable(setup: TrainingSetup) -> None:
    """Refuse what a graph cannot hold.

    Args:
        setup: of the training.

    Raises:
        XkdError: the device is no GPU, or the recipe waits for it, draws at random or changes shape within a step.
    """
    recipe, device = setup.recipe, setup.accelerator.device.type
    processes = setup.accelerator.num_processes
    methods = [method.name for method in setup.objective.methods if not method.capturable]
    changes = (*recipe.data.mixing, *recipe.data.image_by_image)
    obstacles = [
        (device != "cuda", f"the device is {device!r}; expected 'cuda', an NVIDIA GPU"),
        (processes > 1, f"{processes} processes found; expected one"),
        (recipe.data.loader != "device", "data.loader is 'workers'; expected 'device', images that lie on the GPU"),
        (bool(changes), f"data.{''.join(changes[:1])} draws at random, image by image or step by step"),
        (
            setup.teachers is not None and setup.teachers.are_stored,
            "a teacher's answers are stored",
        ),
        (recipe.accumulate > 1, f"accumulate is {recipe.accumulate}; expected 1"),
        (recipe.precision == "fp16", "precision is 'fp16', whose overflows are waited for; expected bf16 or fp32"),
        (recipe.gradient_checkpointing, "gradient_checkpointing is true; expected one of the two"),
        (recipe.compile, "compile is true; expected one of the two"),
        (not isinstance(recipe.optimiser, Sgd), f"optimiser.name is {recipe.optimiser.name!r}; expected 'sgd'"),
        (setup.draws and not methods, "the student draws at random"),
        (bool(methods), f"the method {', '.join(methods)} draws at random, or does other operations on other values"),
    ]
    for found, what in obstacles:
        if found:
            raise XkdError(f"capture: {what}; leave `capture` out")
