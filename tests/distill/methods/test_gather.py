"""Losses of a batch that two processes share: the same value and the same gradient as in one."""

from __future__ import annotations

import multiprocessing
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from distill.methods import Pass, create_method
from xkd_eval.errors import XkdError

METHODS = ("dist", "mlkd", "sp", "rkd", "pkt")


def _networks() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return tuple(torch.rand(6, channels, 2, 2, generator=generator, dtype=torch.float64) for channels in (5, 5))


def _loss(name: str, weight: torch.Tensor, rows: slice) -> torch.Tensor:
    """A method's loss on some rows, where the student's features depend on a shared parameter."""
    own, other = _networks()
    features = own[rows] * weight[:, None, None]
    student = Pass(features.mean((2, 3)), features, torch.eye(5, dtype=torch.float64))
    teacher = Pass(other[rows].mean((2, 3)), other[rows], torch.eye(5, dtype=torch.float64))
    labels = torch.zeros(len(features), dtype=torch.long)
    return sum(create_method(name)(student, teacher, labels).values())


def _work(rank: int, store: str, results: multiprocessing.Queue) -> None:
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    weight = torch.ones(5, dtype=torch.float64, requires_grad=True)
    found = {}
    for name in METHODS:
        loss = _loss(name, weight, slice(3 * rank, 3 * rank + 3))
        (gradient,) = torch.autograd.grad(loss, weight)
        dist.all_reduce(gradient)
        found[name] = (loss.item(), (gradient / 2).tolist())
    try:
        create_method("crd").setup(Pass(torch.zeros(1, 2)), Pass(torch.zeros(1, 2)), dataset_size=1)
    except XkdError as error:
        found["crd"] = str(error)
    results.put((rank, found))
    dist.destroy_process_group()


def test_two_processes_give_the_loss_and_gradient_of_one(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_work, args=(rank, str(tmp_path / "store"), queue)) for rank in range(2)]
    for worker in workers:
        worker.start()
    found = dict(queue.get(timeout=120) for _ in workers)
    for worker in workers:
        worker.join()
    weight = torch.ones(5, dtype=torch.float64, requires_grad=True)
    for name in METHODS:
        loss = _loss(name, weight, slice(None))
        (gradient,) = torch.autograd.grad(loss, weight)
        for rank in range(2):
            value, averaged = found[rank][name]
            assert value == pytest.approx(loss.item(), rel=1e-9), name
            torch.testing.assert_close(torch.tensor(averaged, dtype=torch.float64), gradient, msg=name)
    assert found[0]["crd"] == "crd: 2 processes found; its memory lives in one, so train on one device"
