"""Draws of a thread's own: torch's streams, none of which the process shares."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from distill.data.draws import OwnDraws
from xkd_eval.errors import XkdError


def dropped(*shape):
    return F.dropout(torch.ones(shape), 0.5)


DRAWS = {
    "weights": lambda: nn.Conv2d(3, 4, 3).weight,
    "rand": lambda: torch.rand(3),
    "randn": lambda: torch.randn(2, 3, dtype=torch.float64),
    "randint": lambda: torch.randint(2, 9, (5,)),
    "randperm": lambda: torch.randperm(9),
    "like": lambda: torch.rand_like(torch.ones(3)) + torch.randint_like(torch.ones(3), 9),
    "out": lambda: torch.randn(2, out=torch.empty(2)),
    "dropout": lambda: dropped(40),
    "dropout2d": lambda: F.dropout2d(torch.ones(2, 9, 2, 2), 0.5),
    "attention": lambda: F.scaled_dot_product_attention(*torch.randn(3, 1, 2, 4, 8), dropout_p=0.5),
    "layer": lambda: nn.TransformerEncoderLayer(8, 2, 16)(torch.randn(2, 3, 8)),
    "lstm": lambda: nn.LSTM(3, 4, 2, dropout=0.5)(torch.randn(2, 2, 3))[0],
    "gumbel": lambda: F.gumbel_softmax(torch.randn(2, 5)),
    "gamma": lambda: torch.distributions.Gamma(0.5, 0.5).sample(),
    "poisson": lambda: torch.poisson(torch.ones(4), torch.Generator().manual_seed(1)) + torch.poisson(torch.ones(4)),
    "multinomial": lambda: torch.multinomial(torch.ones(9), 3),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_draws_are_those_of_torch_and_its_generator_stays(draw):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = draw(), torch.rand(2)
    before = torch.get_rng_state()
    with OwnDraws(5) as own:
        found = draw(), torch.rand(2)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert own.count >= 2


def test_only_what_draws_is_counted():
    with OwnDraws(5) as own:
        F.scaled_dot_product_attention(*torch.ones(3, 1, 2, 4, 8))
        F.dropout(torch.ones(3), training=False)
        nn.Linear(2, 2, device="meta")
    assert own.count == 0


@pytest.mark.parametrize("operation", ["with a generator", "without one"])
def test_within_another_one_the_innermost_draws(operation):
    """An operation that takes no generator borrows torch's, behind a lock that is not to be waited for twice."""

    def draw():
        if operation == "with a generator":
            return torch.rand(100)
        return F.scaled_dot_product_attention(*torch.ones(3, 1, 2, 4, 8), dropout_p=0.5)

    with OwnDraws(5) as outer:
        first = draw()
        with OwnDraws(6) as inner:
            within = draw()
        second = draw()
    with OwnDraws(5):
        assert torch.equal(draw(), first) and torch.equal(draw(), second)
    with OwnDraws(6):
        assert torch.equal(draw(), within)
    assert (outer.count, inner.count) == (2, 1)


def test_the_innermost_counts():
    with OwnDraws(5), OwnDraws(6):
        inner = torch.rand(3)
    with OwnDraws(6):
        assert torch.equal(torch.rand(3), inner)


def test_other_threads_draw_beside_it():
    found = {}

    def draw(seed):
        with OwnDraws(seed):
            found[seed] = [dropped(100) for _ in range(50)]

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    torch.rand(1000)
    for thread in threads:
        thread.join()
    for seed, theirs in found.items():
        with OwnDraws(seed):
            assert all(torch.equal(dropped(100), one) for one in theirs)


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_is_computed_again_for_its_gradient_is_refused(reentrant):
    values = torch.ones(5, requires_grad=True)
    with OwnDraws(3):
        made = checkpoint(lambda given: F.dropout(given) * given, values, use_reentrant=reentrant).sum()
        with pytest.raises(XkdError, match=r"^student: it draws at random while its gradient is computed; leave"):
            made.backward()
