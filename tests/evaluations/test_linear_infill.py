"""The infill of removed pixels: answers known by hand, and a dense solve of the equations one by one."""

import numpy as np
import pytest
import torch

from xkd_eval import XkdError
from xkd_eval.evaluations.linear_infill import infill_noise, infilled

AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x]


def solved(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(C, H, W) and (H, W): each removed pixel's equation, written out and solved densely."""
    places = {place: row for row, place in enumerate(zip(*np.nonzero(hidden), strict=True))}
    left, right = np.zeros((len(places), len(places))), np.zeros((len(places), len(image)))
    for (y, x), row in places.items():
        for dy, dx in AROUND:
            other = (y + dy, x + dx)
            if not (0 <= other[0] < hidden.shape[0] and 0 <= other[1] < hidden.shape[1]):
                continue
            weight = 1 / 12 if dy and dx else 1 / 6
            left[row, row] += weight
            if other in places:
                left[row, places[other]] -= weight
            else:
                right[row] += weight * image[:, other[0], other[1]]
    filled = image.copy()
    filled[:, hidden] = np.linalg.solve(left, right).T
    return filled


def hole(height: int, width: int, *spans: tuple[slice, slice]) -> torch.Tensor:
    hidden = torch.zeros(1, height, width, dtype=torch.bool)
    for span in spans:
        hidden[0][span] = True
    return hidden


def test_a_constant_image_is_filled_in_exactly():
    image = torch.full((3, 20, 30), 0.7)
    hidden = torch.rand(1, 20, 30, generator=torch.Generator().manual_seed(0)) < 0.9
    torch.testing.assert_close(infilled(image, hidden)[0], image, rtol=0, atol=1e-6)


def test_an_affine_image_is_filled_in_exactly_off_the_border():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    image = torch.stack([0.01 * y + 0.02 * x, 1 - 0.02 * y, 0.005 * x])
    hidden = hole(40, 50, (slice(1, 39), slice(1, 20)), (slice(10, 20), slice(30, 49)))
    torch.testing.assert_close(infilled(image, hidden)[0], image, rtol=0, atol=2e-6)


def test_a_corner_is_two_fifths_of_each_direct_neighbour_and_a_fifth_of_the_diagonal_one():
    image = torch.tensor([[[9.0, 0.5, 0.0], [0.25, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    filled = infilled(image, hole(3, 3, (slice(0, 1), slice(0, 1))))[0, 0, 0, 0]
    assert filled.item() == pytest.approx(0.4 * 0.5 + 0.4 * 0.25 + 0.2 * 1.0, abs=1e-6)


@pytest.mark.parametrize("size", [(1, 2), (2, 1), (1, 17), (13, 1), (7, 9), (24, 33), (40, 21)])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_every_equation_holds_whatever_the_hole(size, share):
    generator = np.random.default_rng(sum(size))
    image = generator.standard_normal((3, *size)).astype(np.float32)
    rough, smooth = generator.random(size), np.add.outer(np.arange(size[0]), np.arange(size[1])).astype(float)
    hidden = np.stack([values < np.quantile(values, share) for values in (rough, smooth, -smooth)])
    found = infilled(torch.from_numpy(image), torch.from_numpy(hidden)).numpy()
    for copy, lacks in zip(found, hidden, strict=True):
        expected = solved(image.astype(np.float64), lacks)
        np.testing.assert_allclose(copy, expected, rtol=0, atol=1e-6 * np.abs(image).max())


def test_a_photograph_sized_hole_agrees_with_a_sparse_factorisation():
    from scipy import sparse
    from scipy.sparse.linalg import splu

    size = 224
    generator = np.random.default_rng(0)
    image = generator.random((3, size, size))
    y, x = np.mgrid[:size, :size]
    hidden = (y - 120) ** 2 + (x - 90) ** 2 < 100**2
    places = np.full((size + 2, size + 2), -1)  # a border of known zeros stays out of the hole
    places[1:-1, 1:-1][hidden] = np.arange(hidden.sum())
    around = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    ys, xs = np.nonzero(hidden)
    n = len(ys)
    rows, columns, weights, right = [np.arange(n)], [np.arange(n)], [np.zeros(n)], np.zeros((n, 3))
    for dy, dx in AROUND:
        weight = 1 / 12 if dy and dx else 1 / 6
        inside = (ys + dy >= 0) & (ys + dy < size) & (xs + dx >= 0) & (xs + dx < size)
        other = places[ys + 1 + dy, xs + 1 + dx]
        weights[0] += weight * inside
        free = np.nonzero(other >= 0)[0]
        rows.append(free), columns.append(other[free]), weights.append(np.full(len(free), -weight))
        right += np.where((other < 0) & inside, weight * around[:, ys + 1 + dy, xs + 1 + dx], 0.0).T
    system = sparse.csc_matrix((np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))))
    found = infilled(torch.from_numpy(image), torch.from_numpy(hidden)[None])[0].numpy()
    np.testing.assert_allclose(found[:, hidden], splu(system).solve(right).T, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(found[:, ~hidden], image[:, ~hidden])


def test_an_image_that_lacks_nothing_stays_as_it_is():
    image = torch.rand(3, 5, 5)
    torch.testing.assert_close(infilled(image, hole(5, 5))[0], image, rtol=0, atol=0)


def test_an_image_without_a_pixel_is_refused():
    hidden = torch.stack([hole(4, 4)[0], torch.ones(4, 4, dtype=torch.bool)])
    with pytest.raises(XkdError, match=r"^hidden: no pixel is left of an image; expected at least one"):
        infilled(torch.rand(3, 4, 4), hidden)


def test_values_that_are_not_finite_are_refused():
    image = torch.full((3, 8, 8), torch.nan)
    with pytest.raises(XkdError, match=r"^infill: no solution within 200 rounds; expected images of finite values"):
        infilled(image, hole(8, 8, (slice(2, 5), slice(2, 5))))


def test_noise_is_an_images_own_and_a_steps():
    image = torch.zeros(3, 6, 7)
    drawn = infill_noise("a", 0.5, 0, image)
    torch.testing.assert_close(drawn, infill_noise("a", 0.5, 0, image), rtol=0, atol=0)
    for other in (infill_noise("b", 0.5, 0, image), infill_noise("a", 0.6, 0, image), infill_noise("a", 0.5, 1, image)):
        assert (drawn != other).all()
    many = infill_noise("a", 0.5, 0, torch.zeros(3, 100, 100))
    assert abs(many.mean().item()) < 0.03 and many.std().item() == pytest.approx(1, abs=0.03)
