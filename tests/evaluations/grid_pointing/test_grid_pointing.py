"""The grid pointing game: answers by hand, studies of it, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tests.evaluations.conftest import batch_of
from tests.evaluations.grid_pointing.conftest import EASY, LISTED
from xkd_eval import Explainer, XkdError, evaluate
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.comparison.compare import compare_models
from xkd_eval.datasets.base import Subset
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.datasets.grids import Grids
from xkd_eval.datasets.loader import stream
from xkd_eval.errors import UnreadableImageError
from xkd_eval.evaluations.grid_pointing.options import GridPointingOptions
from xkd_eval.evaluations.grid_pointing.shares import tile_shares
from xkd_eval.evaluations.grid_pointing.test import GridPointingTest
from xkd_eval.evaluations.protocol import Rules
from xkd_eval.explainers.stored import save_maps
from xkd_eval.study.stream import run_cells
from xkd_eval.testing import check_test


def score(maps: Tensor, side: int = 2, size: tuple[int, int] = (4, 4)) -> np.ndarray:
    """The game on grids whose maps are the same for every class, as a study scores them."""

    @dataclass(frozen=True)
    class Given(Explainer):
        name, citation, cost, model_free = "given", "for the test", "0", True

        def __call__(self, classifier, images, classes, context=None):
            return maps

    pixels = torch.zeros(len(maps), 3, *size, dtype=torch.uint8)
    batch = batch_of(pixels, maps, lambda images: torch.zeros(len(images), 5), [0] * len(maps), Preprocess(size=size))
    tiles = torch.zeros(len(maps), side**2, dtype=torch.int64)
    test = GridPointingTest.create(Rules(), GridPointingOptions(side=side))
    return test.rows(replace(batch, tiles=tiles, explainer=Given()))


class TestByHand:
    def test_a_constant_positive_map_scores_chance(self):
        assert score(torch.full((1, 2, 2), 3.0))["grid_pointing"] == [1 / 4]
        nine = score(torch.full((1, 6, 6), 3.0), side=3, size=(6, 6))["grid_pointing"]
        np.testing.assert_allclose(nine, 1 / 9, rtol=1e-15)

    def test_all_in_its_tile_is_one(self):
        maps = torch.zeros(1, 4, 4)
        maps[0, 2:, :2] = 1.0
        assert score(maps)["tile_scores"].tolist() == [[0, 0, 1, 0]]

    @pytest.mark.parametrize("value", [0.0, -1.0, 1e-9, 1e-38])
    def test_nothing_positive_is_zero(self, value):
        assert score(torch.full((1, 4, 4), value))["tile_scores"].tolist() == [[0, 0, 0, 0]]

    def test_negative_values_are_dropped_after_up_sampling_and_never_lifted(self):
        found = score(torch.tensor([[[3.0, -1.0], [-1.0, -1.0]]]))["tile_scores"]
        up = F.interpolate(torch.tensor([[[[3.0, -1.0], [-1.0, -1.0]]]]), (4, 4), mode="bilinear")[0, 0].clamp(min=0)
        np.testing.assert_allclose(found[0, 0], (up[:2, :2].sum() / up.sum()).item(), rtol=1e-6)
        assert found[0, 0] > 0.8

    def test_maps_that_are_constant_or_not_finite_are_counted(self):
        found = score(torch.stack([torch.full((4, 4), torch.nan), torch.ones(4, 4), torch.eye(4)]))
        assert found["degenerate"].tolist() == [True, True, False]
        assert found["grid_pointing"].tolist() == [0.25, 0.25, 0.25]
        assert found["tile_scores"][2, 0] > 0.25

    def test_values_near_the_ends_of_the_range_change_no_share(self):
        maps = torch.rand(2, 4, 4)
        np.testing.assert_allclose(tile_shares(maps * 3e38, (8, 8), 2), tile_shares(maps, (8, 8), 2), rtol=1e-6)

    def test_a_slow_derivation_gives_the_same_shares_also_where_tiles_have_uneven_edges(self):
        maps = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
        size, side = (16, 23), 3
        found = tile_shares(maps, size, side)
        for image, up in enumerate(F.interpolate(maps[:, None], size, mode="bilinear")[:, 0]):
            sums = np.zeros((side, side))
            for y in range(size[0]):
                for x in range(size[1]):
                    sums[int((y + 0.5) * side / size[0]), int((x + 0.5) * side / size[1])] += max(up[y, x].item(), 0)
            np.testing.assert_allclose(found[image], (sums / sums.sum()).ravel(), rtol=1e-5)


class TestOfAStudy:
    def test_tiles_are_the_photographs_as_the_network_takes_them(self, images):
        grids = Grids(images, 2, [(3, 1, 7, 5)], {})
        small, wide = Preprocess(size=(40, 40)), Preprocess(size=(24, 30), resize="crop")
        (item,) = stream(grids, [0], small, wide)
        for preprocess, view in zip((small, wide), item.views, strict=True):
            height, width = preprocess.size
            assert view.shape == (3, 2 * height, 2 * width)
            alone = [preprocess.pixels(images.load(place).image) for place in (3, 1, 7, 5)]
            assert torch.equal(view[:, :height, width:], alone[1])
            assert torch.equal(view[:, height:, :width], alone[2])
        assert item.content_hash == grids.content_hash(0) == grids.load(0).content_hash
        assert grids.load(0).image.size == (128, 128)

    def test_the_contract_is_kept(self, images):
        check_test(EASY, images)

    def test_every_class_explained_by_a_forward_of_its_own_scores_the_same(self, images):
        """The CAM that is read off the known features against one that forwards the grid for each class."""

        @dataclass(frozen=True)
        class Forwarded(Explainer):
            name, citation, cost = "forwarded", "for the test", "1 F"

            def __call__(self, classifier, images, classes, context=None):
                return classifier.cams(classifier.forward_with_features(images).features, classes[:, None])[:, 0]

        found = evaluate("embedded/kd", images, tests=[EASY], explainers=["cam", Forwarded()])
        ours, theirs = (result.columns["tile_scores"] for result in found.results)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        assert ours.mean() > 0.4  # chance is .25

    def test_the_grid_is_forwarded_once_a_model(self, images, monkeypatch):
        from xkd_eval.engines.network import Network

        forwarded = []
        clean = Network.clean

        def counted(self, given, ids):
            forwarded.append(tuple(given.shape[2:]))
            monkeypatch.setattr("xkd_eval.classifiers.classifier.Classifier.forward_with_features", None)
            return clean(self, given, ids)

        monkeypatch.setattr(Network, "clean", counted)
        evaluate("embedded/kd", images, tests=[EASY], batch_size=64)
        assert forwarded == [(40, 40), (80, 80)]

    def test_models_are_compared_on_the_same_grids_beside_floors(self, images):
        found = compare_models(["embedded/teacher", "embedded/kd"], images, tests=[EASY])
        scores = found.scores[found.scores["score"] == "grid_pointing"]
        assert {"cam", "random", "centre", "edges", "fake_cam"} <= set(scores["maps"])
        random = scores[scores["maps"] == "random"]["value"]
        np.testing.assert_allclose(random.astype(float), 0.25, rtol=1e-12)  # shares of one map add up to 1
        assert len(found.differences[found.differences["score"] == "grid_pointing"]) > 0

    def test_another_set_of_models_has_other_grids_and_another_run(self, images):
        two = evaluate(["embedded/teacher", "embedded/plain"], images, tests=[EASY])
        one = evaluate(["embedded/teacher"], images, tests=[EASY])
        first, second = two.results
        assert first.ids == second.ids != one.results[0].ids
        assert one.results[0].description["data"]["digest"] != first.description["data"]["digest"]

    def test_two_processes_arrive_at_the_same_grids(self, images, tmp_path):
        """With nothing on disk, where each has the answers to half of the photographs."""
        script = tmp_path / "two.py"
        script.write_text(
            "import sys\n"
            "from xkd_eval import evaluate\n"
            "from xkd_eval.datasets.embedded import EmbeddedDataset\n"
            "from xkd_eval.devices import process_state\n"
            "images = EmbeddedDataset('test', size=40)\n"
            f"rows = evaluate('embedded/kd', images, tests=[{EASY!r}], device='cpu').results[0].rows\n"
            "rows.to_pandas().to_pickle(f'{sys.argv[1]}/{process_state(\"cpu\").process_index}.pkl')\n"
        )
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", str(script)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        ended = subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=240)
        assert ended.returncode == 0, ended.stderr
        alone = evaluate("embedded/kd", images, tests=[EASY], device="cpu").results[0].rows.to_pandas()
        for number in (0, 1):
            assert pd.read_pickle(tmp_path / f"{number}.pkl").to_json() == alone.to_json()

    def test_other_batches_and_workers_give_the_same_rows(self, images):
        first = evaluate("embedded/kd", images, tests=[EASY])
        again = evaluate("embedded/kd", images, tests=[EASY], batch_size=3, workers=1)
        assert first.results[0].rows.equals(again.results[0].rows)

    def test_after_a_kill_the_same_grids_are_continued_and_no_photograph_is_asked_again(
        self, images, tmp_path, monkeypatch
    ):
        whole = evaluate("embedded/kd", images, tests=[EASY], output=tmp_path / "whole")
        killed = tmp_path / "killed"
        asked = []

        def dying(runs, *given, **others):
            asked.append([run.cell.test.name for run in runs if len(run.done) < len(run.cell.dataset)])
            if runs[0].cell.test.name == "grid_pointing" and len(asked) < 3:
                raise KeyboardInterrupt
            return run_cells(runs, *given, **others)

        monkeypatch.setattr("xkd_eval.study.run.run_cells", dying)
        with pytest.raises(KeyboardInterrupt):
            evaluate("embedded/kd", images, tests=[EASY], output=killed)
        continued = evaluate("embedded/kd", images, tests=[EASY], output=killed)
        assert asked == [["answers"], ["grid_pointing"], [], ["grid_pointing"]]
        assert continued.results[0].rows.equals(whole.results[0].rows)

    def test_answers_that_were_changed_are_refused(self, images, tmp_path):
        evaluate("embedded/kd", images, tests=[EASY], output=tmp_path)
        (part,) = (tmp_path / "runs" / "answers").glob("*/rows/*.parquet")
        part.write_bytes(part.read_bytes()[:-9] + b"\0" * 9)
        with pytest.raises(XkdError, match=r"^output: .* is damaged"):
            evaluate("embedded/kd", images, tests=[EASY], output=tmp_path)

    def test_a_photograph_that_cannot_be_read_is_in_no_grid(self, images):
        class Holed(Subset):
            def load(self, position):
                if position == 4:
                    raise UnreadableImageError("truncated")
                return super().load(position)

        found = evaluate("embedded/kd", Holed(images, list(range(40))), tests=[LISTED])
        assert not any(images.ids[4] in name for name in found.results[0].ids)
        assert found.results[0].summary["skipped"]["count"] == 0

    def test_the_true_class_is_explained_where_it_is_asked_for(self, images):
        predicted, true = (
            evaluate("embedded/plain", images, tests=[LISTED], target=target).results[0]
            for target in ("predicted", "true")
        )
        labels = dict(zip(images.ids, images.labels, strict=True))
        assert list(true.columns["target"]) == [labels[name.split("+")[0]] for name in true.ids]
        assert predicted.ids == true.ids
        assert not np.array_equal(predicted.columns["tile_scores"], true.columns["tile_scores"])


class TestBadInput:
    def test_grids_without_a_class_a_tile(self, images):
        class Odd(GridPointingTest):
            name = "odd_grids"

            def images(self, dataset, answers):
                return Grids(dataset, 2, [(0, 1, 2, 3)], {"kd": np.zeros((1, 3), dtype=np.int64)})

        with pytest.raises(XkdError, match=r"^test 'odd_grids': its grids have the classes .* expected int64 \(1, 4\)"):
            evaluate("embedded/kd", images, tests=[Odd])

    def test_stored_maps(self, images, tmp_path):
        save_maps(tmp_path, images.ids, torch.rand(len(images), 4, 4))
        with pytest.raises(XkdError, match=r"^maps: grid_pointing needs maps of images, classes or networks"):
            evaluate("embedded/kd", images, tests=[EASY], maps=tmp_path)

    def test_no_grid_of_what_there_is(self):
        few = EmbeddedDataset("test", size=3)
        with pytest.raises(XkdError, match=r"^data: a grid takes 4 photographs of distinct classes .* of 3 of"):
            evaluate("embedded/kd", few, tests=["grid_pointing:confidence=0"])

    def test_a_set_without_labels(self):
        class Bare(EmbeddedDataset):
            def __init__(self):
                super().__init__("test", size=8)
                self.labels, self.label_kind, self.classes = [None] * 8, "none", None

        with pytest.raises(XkdError, match=r"^data: .* has no labels; grid_pointing takes photographs that are"):
            evaluate("embedded/kd", Bare(), tests=["grid_pointing"])
        found = evaluate("embedded/kd", Bare(), tests=["grid_pointing:correct_only=false,confidence=0"])
        assert found.results[0].summary["n_images"] >= 1

    @pytest.mark.parametrize(
        ("options", "words"),
        [("side=1", "side"), ("confidence=2", "confidence"), ("order=best", "order"), ("grids=0", "grids")],
    )
    def test_options_out_of_range(self, options, words, images):
        with pytest.raises(XkdError, match=rf"^tests grid_pointing: {words}|^{words}"):
            evaluate("embedded/kd", images, tests=[f"grid_pointing:{options}"])
