"""Faithfulness: linear networks whose every correlation is 1, slow rederivations, and what is refused."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from tests.evaluations.conftest import batch_of
from xkd_eval import Preprocess, evaluate
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.draws import image_generator
from xkd_eval.evaluations.faithfulness.correlations import over_images
from xkd_eval.evaluations.faithfulness.options import FaithfulnessOptions
from xkd_eval.evaluations.faithfulness.presets import PRESETS, UNREAD
from xkd_eval.evaluations.faithfulness.protocol import faithfulness_protocol
from xkd_eval.evaluations.faithfulness.test import FaithfulnessTest
from xkd_eval.evaluations.faithfulness.units import Cells, Values, subsets
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.testing import check_test

SIZE = (12, 10)
# Black and 0 in normalised space are the same here, so maps of a linear network are exact with the fill "mean".
PLAIN = Preprocess(size=SIZE, mean=(0.0,) * 3, std=(1.0,) * 3)


def linear(weight: torch.Tensor):
    """The class that is predicted has a logit that is linear in the pixels, the other one has 0."""

    def answer(images: torch.Tensor) -> torch.Tensor:
        total = 2 + (images.double() * weight).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(total), total], 1).float()

    return answer


def bent(weight: torch.Tensor):
    """Neither linear nor monotonic in the pixels."""

    def answer(images: torch.Tensor) -> torch.Tensor:
        total = (images.double() * weight).sum((1, 2, 3))
        return torch.stack([torch.zeros_like(total), 1 + torch.sin(total)], 1).float()

    return answer


def drawn(n: int = 3):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, *SIZE), dtype=torch.uint8, generator=generator)
    return pixels, torch.rand(3, *SIZE, generator=generator, dtype=torch.float64)


def batch_for(network, pixels: torch.Tensor, weight: torch.Tensor, labels=(1, 1, 1)):
    """Maps are what each pixel adds to the logit of a linear network."""
    maps = (PLAIN.normalise(pixels).double() * weight).sum(1).float()
    return batch_of(pixels, maps, network(weight), list(labels)[: len(pixels)], PLAIN, chunk=5)


def rows_of(batch, **options):
    return FaithfulnessTest.create(Rules(), FaithfulnessOptions(**options)).rows(batch)


@pytest.mark.parametrize("preset", ["mu-fidelity", "bhatt", "estimate", "sensitivity-n"])
@pytest.mark.parametrize("form", ["lowres", "absolute"])
def test_of_a_linear_network_every_correlation_is_one(preset, form):
    pixels, weight = drawn()
    batch = batch_for(linear, pixels, weight)
    # Only the offset of a form moves sums of cells: "absolute" has none.
    more = {"removed": (0.1, 0.3, 0.6)} if preset == "sensitivity-n" else {}
    found = rows_of(batch, preset=preset, form=form, answer="logit", groups=25, **more)
    (name,) = [name for name in found if name not in ("degenerate", "sensitivity_n_curve")]
    if form == "absolute":
        np.testing.assert_allclose(found[name], 1, atol=1e-5)
    else:
        assert (found[name] > 0.5).all()


def test_values_of_a_linear_network_by_hand():
    """Grey photographs under equal weights of channels: each channel value adds a third of its pixel."""
    pixels, weight = drawn()
    pixels, weight = pixels[:, :1].expand(-1, 3, -1, -1).clone(), weight[:1].expand(3, -1, -1)
    pixels[:, :, 0, 0] = 0  # the smallest value, by which "lowest" fills
    batch = batch_for(linear, pixels, weight)
    for preset in ("quantus", "quantus-estimate"):
        more = {"groups": 20} if preset == "quantus-estimate" else {"removed": (0.1,)}
        found = rows_of(batch, preset=preset, form="absolute", **more)
        np.testing.assert_allclose(
            found["faithfulness_" + ("estimate" if "est" in preset else "correlation")], 1, atol=1e-5
        )


def cells_of(side: int) -> list[np.ndarray]:
    """(H, W) booleans a cell, by loops."""
    found = []
    for row, column in itertools.product(range(side), repeat=2):
        mask = np.zeros(SIZE, dtype=bool)
        for y, x in itertools.product(range(SIZE[0]), range(SIZE[1])):
            mask[y, x] = y * side // SIZE[0] == row and x * side // SIZE[1] == column
        found.append(mask)
    return found


def asked(batch, place: int, removed: np.ndarray) -> float:
    """The probability of the target without the pixels that are removed; 0 is black and the mean."""
    image = batch.images[place].clone()
    image[:, torch.from_numpy(removed)] = 0
    answers = batch.network.answer(image[None])[0].double()
    return torch.softmax(answers, 0)[batch.target[place]].item()


@pytest.fixture
def slow():
    """A bent network on three photographs, its min-maxed maps, and the cells of a 4 x 4 grid."""
    pixels, weight = drawn()
    batch = batch_for(bent, pixels, weight)
    return batch, in_form(batch.maps, "minmax", SIZE)[0].double().numpy(), cells_of(4)


def test_the_correlation_is_a_slow_rederivation(slow):
    batch, maps, cells = slow
    mu, bhatt = (rows_of(batch, preset=name, groups=16, samples=30) for name in ("mu-fidelity", "bhatt"))
    for place, name in enumerate(batch.ids):
        clean = asked(batch, place, np.zeros(SIZE, dtype=bool))
        for found, draw, correlate in ((mu, "each", stats.spearmanr), (bhatt, "fixed", stats.pearsonr)):
            sums, drops = [], []
            for chosen in subsets(image_generator(name, 0, "subsets"), 16, 0.2, 30, draw):
                removed = np.logical_or.reduce([np.zeros(SIZE, bool), *itertools.compress(cells, chosen)])
                sums.append(maps[place][removed].sum())
                drops.append(clean - asked(batch, place, removed))
            assert found["faithfulness_correlation"][place] == pytest.approx(correlate(sums, drops)[0], abs=1e-5)


def test_estimate_and_monotonicity_are_slow_rederivations(slow):
    batch, maps, cells = slow
    alone, added = (rows_of(batch, preset=name, groups=16) for name in ("estimate", "monotonicity"))
    for place in range(3):
        clean = asked(batch, place, np.zeros(SIZE, dtype=bool))
        sums = [maps[place][cell].sum() for cell in cells]
        drops = [clean - asked(batch, place, cell) for cell in cells]
        assert alone["faithfulness_estimate"][place] == pytest.approx(stats.pearsonr(sums, drops)[0], abs=1e-5)
        removed = np.ones(SIZE, dtype=bool)
        curve = [asked(batch, place, removed)]
        for cell in sorted(range(16), key=sums.__getitem__):
            removed &= ~cells[cell]
            curve.append(asked(batch, place, removed))
        rises = [later >= earlier for earlier, later in itertools.pairwise(curve)]
        assert added["monotonicity"][place] == all(rises)
        assert added["monotonicity_steps"][place] == pytest.approx(np.mean(rises))


def test_sensitivity_n_is_the_correlation_at_each_size(slow):
    batch, _, _ = slow
    found = rows_of(batch, preset="sensitivity-n", groups=16, samples=20, removed=(0.1, 0.5))
    first = rows_of(batch, preset="bhatt", groups=16, samples=20, removed=(0.1,))
    np.testing.assert_array_equal(found["sensitivity_n_curve"][:, 0], first["faithfulness_correlation"])
    np.testing.assert_allclose(found["sensitivity_n"], found["sensitivity_n_curve"].mean(1))


def test_monotonicity_by_hand():
    pixels, weight = drawn()
    up = rows_of(batch_for(linear, pixels, weight / 100), preset="monotonicity", groups=16)
    assert up["monotonicity"].all() and (up["monotonicity_steps"] == 1).all()
    # Where half of the weights are negative some step lowers the probability.
    weight[:, :6] *= -1
    down = rows_of(batch_for(linear, pixels, weight / 100), preset="monotonicity", groups=16)
    assert not down["monotonicity"].any() and (down["monotonicity_steps"] < 1).all()


def test_what_matters_more_changes_more():
    """Cells of one size of weight each: the larger, the more a random colour moves the answer."""
    pixels, _ = drawn()
    weight = torch.zeros(3, *SIZE, dtype=torch.float64)
    for number, cell in enumerate(cells_of(2)):
        weight[:, torch.from_numpy(cell)] = 4.0**number / 1e4
    batch = batch_for(linear, pixels, weight)
    found = rows_of(batch, preset="monotonicity-correlation", groups=4, samples=40)
    np.testing.assert_allclose(found["monotonicity_correlation"], 1)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_constant_network_leaves_every_correlation_undefined(preset):
    pixels, weight = drawn()
    batch = batch_for(lambda weight: lambda images: torch.tensor([[0.0, 1.0]]).expand(len(images), 2), pixels, weight)
    test = FaithfulnessTest.create(Rules(), FaithfulnessOptions(preset=preset))
    rows = test.rows(batch)
    rows = {name: np.asarray(values) for name, values in rows.items()}
    scores = test.summarise(rows)
    if preset == "monotonicity":
        assert scores["monotonicity"]["value"] == 1
    else:
        (headline,) = [spec.name for spec in test.specs() if spec.role == "headline"]
        assert scores[headline] == {"value": None, "ci95": None}
        assert preset == "quantus-sensitivity-n" or "undefined on 3 images" in test.notes(scores)[-1]


def test_the_correlation_over_images_is_that_of_the_images():
    x, y = np.random.default_rng(0).normal(size=(2, 50, 1))
    products = {"x": x, "y": y, "xx": x * x, "yy": y * y, "xy": x * y}
    means = {name: values.mean(0)[None] for name, values in products.items()}
    assert over_images(means).item() == pytest.approx(stats.pearsonr(x[:, 0], y[:, 0])[0])


def test_any_map_foretells_a_little_where_subsets_differ_in_size():
    """Every pixel is worth the same: a random map knows nothing of it but that more cells cost more."""
    pixels = torch.full((3, 3, *SIZE), 200, dtype=torch.uint8)
    maps = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(1))
    batch = batch_of(pixels, maps, linear(torch.full((3, *SIZE), 0.01)), [1] * 3, PLAIN, chunk=5)
    for draw, correlated in (("each", True), ("fixed", False)):
        options = FaithfulnessOptions(preset="mu-fidelity", groups=4, answer="logit")
        rules = replace(faithfulness_protocol(Rules(), options), draw=draw, removed=(0.5,))
        found = FaithfulnessTest(rules).rows(batch)["faithfulness_correlation"]
        assert (found > 0.5).all() if correlated else np.isnan(found).all() or (np.abs(found) < 0.3).all()
    assert "above 0" in PRESETS["mu-fidelity"].departs


def test_units_by_hand():
    relevance = np.arange(16.0).reshape(4, 4)
    cells = Cells(relevance, 4, np.arange(4))
    assert cells.relevance.tolist() == [0 + 1 + 4 + 5, 2 + 3 + 6 + 7, 8 + 9 + 12 + 13, 10 + 11 + 14 + 15]
    assert cells.groups.tolist() == [3, 2, 1, 0] and cells.group_sums().tolist() == [50, 42, 18, 10]
    assert cells.mask(np.array([False, True, False, False]))[0].int().tolist() == [[0, 0, 1, 1]] * 2 + [[0] * 4] * 2
    values = Values(relevance, 15 - relevance.astype(int), 16)
    assert values.group_sums().tolist() == [3.0 * value for value in range(15, -1, -1)]
    for count in (5, 16, 31, 48):  # of 48 values
        sizes = np.bincount(Values(relevance, 15 - relevance.astype(int), count).groups)
        assert len(sizes) == count and sizes.max() - sizes.min() <= 1
    assert values.mask(values.groups == 0).int().sum().item() == 3  # the channels of the pixel of most relevance
    generator = np.random.default_rng(0)
    assert {chosen.sum() for chosen in subsets(generator, 81, 0.2, 20, "fixed")} == {16}
    counts = [chosen.sum() for chosen in subsets(generator, 81, 0.2, 500, "each")]
    assert np.mean(counts) == pytest.approx(16.2, abs=0.6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("preset=lime", r"preset is 'lime'; expected 'mu-fidelity'"),
        ("preset=monotonicity,answer=logit", r"^answer: logit found; monotonicity is of probabilities"),
        ("preset=estimate,samples=7", r"^samples: preset estimate reads none; leave it out"),
        ("preset=quantus,groups=9", r"^groups: preset quantus reads none"),
        ("groups=80", r"^groups: 80 found; expected a square number of cells"),
        ("groups=10000", r"^groups: 10000 found, 100 x 100 cells, and the input is 40x40"),
        ("preset=quantus-estimate,groups=5000", r"^groups: 5000 found, and an input of 40x40 has 4800 values"),
        ("samples=2", r"^samples: 2 found; expected 3 to 1000000"),
        ("samples=1000000001", r"^samples: 1000000001 found; expected 3 to 1000000"),
        ("groups=10000000000", r"^groups: 10000000000 found; expected no more than 1000000"),
        ("removed=1", r"^removed: 1.0 found; expected one share between 0 and 1"),
        (
            "preset=sensitivity-n,groups=16",
            r"^removed: 0.01 and 0.02 of 16 parts of the image are both 1; give more `gr",
        ),
        ("fill=colour", r"^fill: colour found; correlation takes one fill"),
        (
            "preset=monotonicity-correlation,fill=mean",
            r"^fill: mean found; monotonicity_correlation takes several fills",
        ),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(XkdError, match=message):
        evaluate("embedded/kd", EmbeddedDataset("test", size=2), tests=f"faithfulness:{options}")


def test_one_size_is_a_correlation_and_several_are_a_curve():
    with pytest.raises(XkdError, match=r"^removed: 0\.1, 0\.2 found; expected one share"):
        faithfulness_protocol(Rules(), FaithfulnessOptions(removed=(0.1, 0.2)))
    with pytest.raises(XkdError, match=r"^removed: 0\.2, 0\.1 found; expected increasing shares"):
        faithfulness_protocol(Rules(), FaithfulnessOptions(preset="sensitivity-n", removed=(0.2, 0.1)))


def test_each_measure_has_presets_of_one_shape():
    assert {(preset.rules["measure"], preset.rules["units"]) for preset in PRESETS.values()} == set(UNREAD)
    for name in PRESETS:
        assert faithfulness_protocol(Rules(), FaithfulnessOptions(preset=name)).measure in {key[0] for key in UNREAD}


@pytest.mark.parametrize(
    "options", ["groups=16,samples=9", "preset=quantus-sensitivity-n", "preset=sensitivity-n,samples=5"]
)
def test_it_keeps_the_contract(options):
    check_test(f"faithfulness:{options}")


@pytest.mark.parametrize("preset", ["monotonicity-correlation", "quantus-monotonicity-correlation"])
def test_drawn_fills_keep_the_contract(preset):
    check_test(f"faithfulness:preset={preset},groups=16,samples=2")
