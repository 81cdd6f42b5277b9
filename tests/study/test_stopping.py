"""`until`: images in random order until the intervals are narrow, whatever reads and interrupts them."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from xkd_eval import Evaluation, ScoreSpec, compare, evaluate, open_dataset, segmentation_test
from xkd_eval.comparison.groups import check_comparable
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.datasets.sampling import shuffled
from xkd_eval.errors import XkdError
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.leaderboard.blocks import blocks_of
from xkd_eval.study.answers import CleanPass
from xkd_eval.study.directory import read_run
from xkd_eval.study.options import RunOptions
from xkd_eval.study.stopping import is_narrow, looks, stopping_of

MODELS = ("embedded/teacher", "embedded/plain")
N_IMAGES = 450


class Certainty(Evaluation):
    """Of the clean pass alone, so that hundreds of photographs take a second."""

    name, title, citation, needs_maps, in_comparisons = "certainty", "Certainty", "for the test", False, False

    def rows(self, batch):
        return {"confidence": batch.logits.softmax(1).amax(1).cpu().numpy()}

    def specs(self):
        return (
            ScoreSpec("confidence", "confidence", lambda means: means["confidence"], role="headline"),
            ScoreSpec("square", "its square", lambda means: 100 * means["confidence"] ** 2),  # is not asked about
        )


class Bounds(Evaluation):
    """Scores of every kind, of which a summary is written by hand."""

    name, title, citation, needs_maps, in_comparisons = "bounds", "Bounds", "for the test", False, False

    def rows(self, batch):
        return {}

    def specs(self):
        def spec(name, **given):
            return ScoreSpec(name, name, lambda means: means[name], **{"role": "headline", **given})

        return (
            spec("share"),
            spec("correlation", unit="", range=(-1, 1)),
            spec("size", unit="", range=(0, None)),
            spec("curve", x=(0.0, 1.0)),
            spec("aside", role="shown"),
        )


@pytest.fixture(scope="module")
def images() -> EmbeddedDataset:
    return EmbeddedDataset("test", size=N_IMAGES)


@pytest.fixture(scope="module")
def everything(images):
    """All images, without `until`."""
    return evaluate(MODELS[1], images, tests=[Certainty]).results[0]


def until(images, points, models=MODELS[1], **options):
    return evaluate(models, images, tests=[Certainty], until=points, **options).results


@pytest.mark.parametrize("n_images", [1, 200, 201, 1000, 50_000])
def test_looks_grow_by_a_fifth_and_end_with_all(n_images):
    found = looks(n_images)
    assert found[-1] == n_images and found == sorted(set(found))
    assert n_images <= 200 or found[0] == 200
    assert all(later <= 1.2 * former for former, later in pairwise(found))


@pytest.mark.parametrize(
    ("changed", "points", "expected"),
    [
        ({}, 4, True),
        ({}, 3.9, False),  # of the share, downwards
        ({"share": (0.5, (0.49, 0.541))}, 4, False),  # upwards
        ({"share": (0.5, (0.46, 0.54))}, 4, True),  # as far as it may
        ({"share": (1.0, (1.0, 1.0)), "correlation": (0, (0, 0.01))}, 1.5, True),  # none of 200: up to 3 / 200
        ({"share": (1.0, (1.0, 1.0)), "correlation": (0, (0, 0.01))}, 1.4, False),
        ({"correlation": (0.2, (0.15, 0.21))}, 4, False),  # from -1 to 1: a point is 0.01
        ({"size": (10.0, (2.0, 30.0))}, 4, True),  # without bounds, beside some that have them
        ({"aside": (0.5, (0.0, 1.0))}, 4, True),
        ({"share": (None, None)}, 100, False),
        ({"share": (0.5, None)}, 100, False),
    ],
)
def test_what_is_narrow(changed, points, expected):
    scores = {"share": (0.5, (0.46, 0.52)), "correlation": (0.2, (0.18, 0.21)), "size": (10.0, (9.9, 10.1))}
    assert narrow({**scores, **changed}, points) is expected


@pytest.mark.parametrize(
    ("scores", "points", "expected"),
    [
        ({"size": (10.0, (9.5, 10.4))}, 5, True),  # a headline score without bounds: percent of its value
        ({"size": (10.0, (9.5, 10.4))}, 4.9, False),
        ({"aside": (0.5, (0.46, 0.52))}, 4, True),  # what is shown, where nothing is a headline
        ({"aside": (0.5, (0.46, 0.52))}, 3.9, False),
        ({}, 100, False),  # nothing says that it is enough
    ],
)
def test_what_decides_where_nothing_has_points(scores, points, expected):
    assert narrow(scores, points) is expected


def narrow(scores, points) -> bool:
    summary = {name: {"value": value, "ci95": ci} for name, (value, ci) in scores.items()}
    return is_narrow(Bounds.create(Rules(), Bounds.Options()), summary, 200, points)


def test_it_ends_at_the_first_look_at_which_the_intervals_are_narrow(images, everything):
    (found,) = until(images, 3)
    order = shuffled(images)
    for count in looks(N_IMAGES):
        rows = everything.rows.take(sorted(order[:count]))
        summary = everything.test.summarise({"confidence": np.array(rows["confidence"])})["confidence"]
        if max(abs(bound - summary["value"]) for bound in summary["ci95"]) <= 0.03:
            break
    assert 200 < count < N_IMAGES, "or the test says little"
    assert found.summary["stopped_after"] == count
    assert found.rows.equals(rows)


def test_rows_depend_on_nothing_but_the_seed(images):
    (whole,), (other,) = until(images, 3), until(images, 3, batch_size=7, workers=1)
    assert other.rows.equals(whole.rows)
    assert not until(images, 3, seed=1)[0].rows.equals(whole.rows)


def test_an_interrupted_run_ends_where_it_would_have(images, tmp_path):
    (whole,) = until(images, 3)

    def interrupt(what, done, total):
        if done >= 230:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        until(images, 3, output=tmp_path, progress=interrupt)
    (continued,) = until(images, 3, output=tmp_path)
    assert 0 < continued.continued < whole.summary["stopped_after"]
    assert continued.rows.equals(whole.rows)
    assert until(images, 3, output=tmp_path)[0].continued == whole.rows.num_rows
    _, summary, rows = read_run(continued.directory)
    assert (summary["stopped_after"], rows.table.num_rows) == (whole.rows.num_rows,) * 2


def test_a_photograph_that_is_mended_afterwards_takes_nothing_back(tmp_path):
    folder = tmp_path / "photographs"
    for number in range(260):
        (folder / str(number % 10)).mkdir(parents=True, exist_ok=True)
        picture = Image.new("RGB", (40, 40), (number % 256, 7 * number % 256, 100))
        picture.save(folder / str(number % 10) / f"{number:03}.png")
    dataset = open_dataset(str(folder))
    broken = [dataset.ids[position] for position in shuffled(dataset)[:45]]
    whole = {name: (folder / name).read_bytes() for name in broken}
    for name in broken:
        (folder / name).write_bytes(b"")
    points = 100 * max(abs(np.subtract(*pair)) for pair in reaches(open_dataset(str(folder)), 200)) * 1.001
    (first,) = until(str(folder), points, output=tmp_path / "run")
    assert first.summary["stopped_after"] == 200 and first.summary["skipped"]["count"] == 45
    for name, content in whole.items():
        (folder / name).write_bytes(content)
    (mended,) = until(str(folder), points, output=tmp_path / "run")
    assert mended.summary["stopped_after"] >= 200 and mended.summary["skipped"]["count"] == 0


def reaches(dataset, count):
    """(score, bound) of the first images."""
    found = evaluate(MODELS[1], dataset, tests=[Certainty]).results[0]
    seen = set(shuffled(dataset)[:count])
    rows = found.rows.select(["position", "confidence"]).to_pylist()
    values = [row["confidence"] for row in rows if row["position"] in seen and row["confidence"] is not None]
    score = found.test.summarise({"confidence": np.array(values)})["confidence"]
    return [(score["value"], bound) for bound in score["ci95"]]


def test_models_in_turns_end_where_they_do_together(images):
    together = evaluate(MODELS, images, tests=[Certainty], until=3).results
    in_turns = evaluate(MODELS, images, tests=[Certainty], until=3, models_at_once=1).results
    assert all(ours.rows.equals(theirs.rows) for ours, theirs in zip(in_turns, together, strict=True))


def test_maps_are_kept_of_the_images_that_came(images, tmp_path):
    found = segmentation_test(MODELS[0], images, until=8, save_maps=tmp_path / "maps", figures=False)
    assert found.summary["stopped_after"] == 200
    assert len(list((tmp_path / "maps").rglob("*.npy"))) == 200


def test_models_end_together(images, tmp_path):
    alone = [until(images, 3, model)[0].rows.num_rows for model in MODELS]
    assert alone[0] < alone[1], "the teacher's certainty varies less"
    both = until(images, 3, MODELS)
    assert [result.rows["id"].to_pylist() for result in both] == [both[0].rows["id"].to_pylist()] * 2
    assert both[0].rows.num_rows == alone[1]
    # One that was measured alone is continued to where the other ends.
    until(images, 3, MODELS[0], runs=tmp_path)
    shared = until(images, 3, MODELS, runs=tmp_path)
    assert [result.continued for result in shared] == [alone[0], 0]
    assert [result.rows.num_rows for result in shared] == [alone[1]] * 2


def test_a_run_of_all_images_is_another(images, everything, tmp_path):
    until(images, 3, output=tmp_path / "run", runs=tmp_path)
    again = evaluate(MODELS[1], images, tests=[Certainty], runs=tmp_path).results[0]
    assert again.continued == 0 and again.rows.num_rows == N_IMAGES
    assert "stopping" not in again.description and "stopped_after" not in again.summary


def test_where_it_is_never_enough_all_images_are_scored(images, everything):
    (found,) = until(images, 0)
    assert found.summary["stopped_after"] == N_IMAGES
    assert found.summary["confidence"] == everything.summary["confidence"]


def test_what_other_tests_choose_by_is_whole():
    rules = CleanPass.Protocol()
    assert stopping_of(CleanPass(rules), RunOptions(until=1)) is None
    with pytest.raises(XkdError, match="until: -1 found"):
        RunOptions(until=-1)


def test_runs_that_ended_elsewhere_are_not_compared(images, everything):
    (narrow,), (wide,), (other,) = until(images, 3), until(images, 8), until(images, 8, seed=1)
    early = f"the first {{}} (seed {{}}) of {N_IMAGES} images"
    there = early.format(narrow.rows.num_rows, 0)
    first, *others = blocks_of([narrow, wide, everything, other])
    assert [block.reason for block in others] == [
        f"these differ: {early.format(200, 0)} instead of {there}",
        f"these differ: {N_IMAGES} images instead of {there}",
        f"these differ: {early.format(200, 1)} instead of {there}",
    ]
    assert there in first.title
    with pytest.raises(XkdError, match="cannot be compared; these differ: stopped_after"):
        check_comparable([narrow, wide])
    with pytest.raises(XkdError, match="cannot be compared; these differ: stopped_after"):
        check_comparable([wide, other])
    check_comparable([everything, *until(images, 0)])  # which needed all of them


def test_a_comparison_ends_each_test_on_images_that_all_models_share(tmp_path):
    found = compare(MODELS, "embedded", tests=["segmentation", "agreement"], until=8, floors=False, output=tmp_path)
    assert set(found.health["n_images"]) == {200}
    said = (
        "ended after 200 of 500 images in random order: the 95 % intervals of the headline scores reach no further than"
    )
    assert all(note.startswith(said) for note in found.health["notes"])
    assert said in (tmp_path / "report.html").read_text().replace("&#39;", "'")
    assert found.agreement["n_images"].max() == 200
