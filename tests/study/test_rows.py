"""Rows that are read part by part give what they give at once: order, summaries, columns and scores by class."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from xkd_eval import evaluate, perturbation_test
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.evaluations import Evaluation
from xkd_eval.evaluations.means import defined_columns, mean_score
from xkd_eval.evaluations.scores import to_columns
from xkd_eval.statistics import groups
from xkd_eval.study import parts, rows, tally
from xkd_eval.study.by_class import scores_by_class
from xkd_eval.study.directory import read_run
from xkd_eval.study.rows import Rows, scored_rows
from xkd_eval.study.tally import Tally

N_IMAGES = 60


@pytest.fixture(scope="module")
def result():
    return perturbation_test("embedded/kd", EmbeddedDataset("test", size=N_IMAGES), fractions=(0.2, 0.5))


def table_of(positions) -> pa.Table:
    ids, nothing = [f"i{position}" for position in positions], [None] * len(positions)
    identity = parts.identity_table(list(positions), ids, nothing, nothing)
    return identity.append_column("value", pa.array([float(position) for position in positions]))


def written(folder: Path, *positions) -> Path:
    for some in positions:
        parts.write_part(folder, table_of(some), "run")
    return folder


@pytest.mark.parametrize(
    "positions",
    [
        [range(0, 10), range(10, 12)],
        [range(0, 12, 2), range(1, 12, 2)],  # two processes
        [range(0, 6, 3), range(1, 6, 3), range(2, 6, 3), range(6, 12)],  # three, and one that continues
        [[0, 5, 11], [1, 2], [3, 4, 9], [6, 7, 8, 10]],  # images in an order of their own
        [range(0, 8), range(4, 12)],  # some that two scored
    ],
)
def test_parts_come_in_the_data_sets_order_each_image_once(tmp_path, positions):
    tables = list(parts.stream_parts(written(tmp_path, *positions), "run", 12))
    found = parts.concatenated(tables)
    assert found["position"].to_pylist() == list(range(12))
    assert found["value"].to_pylist() == [float(position) for position in range(12)]


def test_what_lies_apart_is_not_held_together(tmp_path):
    tables = parts.stream_parts(written(tmp_path, range(0, 4), range(4, 8), range(8, 12)), "run", 12)
    assert [table["position"].to_pylist() for table in tables] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_parts_whose_first_row_is_not_their_least_come_in_order_too(tmp_path):
    """As they are where images come in an order of their own, or where a skipped one stands at a part's end."""
    found = parts.stream_parts(written(tmp_path, [5, 0, 7], [3, 1], [6, 2, 4], [9, 8]), "run", 10)
    assert parts.concatenated(list(found))["position"].to_pylist() == list(range(10))


def test_rows_in_an_order_of_their_own_are_not_sorted_again_for_every_part(tmp_path, monkeypatch):
    order = np.random.default_rng(0).permutation(640).tolist()
    written(tmp_path, *(sorted(order[start : start + 5]) for start in range(0, 640, 5)))
    sorted_rows = []
    in_order = parts.in_order
    monkeypatch.setattr(parts, "in_order", lambda table: sorted_rows.append(table.num_rows) or in_order(table))
    found = parts.concatenated(list(parts.stream_parts(tmp_path, "run", 640)))
    assert found["position"].to_pylist() == list(range(640))
    assert sum(sorted_rows) < 6 * 640


def test_results_can_be_sent_to_another_process(tmp_path, result):
    assert pickle.loads(pickle.dumps(result)).rows.equals(result.rows)
    stored = pickle.loads(pickle.dumps(Rows(partial(parts.stream_parts, written(tmp_path, range(4)), "run", 4))))
    assert stored.table["position"].to_pylist() == [0, 1, 2, 3]


def test_no_bit_of_a_summary_depends_on_the_parts(result, monkeypatch):
    monkeypatch.setattr(groups, "GROUPS", 20)
    monkeypatch.setattr(rows, "_BLOCK", 1)  # the test is asked about each table by itself
    whole = Tally(Rows.of(result.rows), result.test)
    apart = Tally(Rows(lambda: [result.rows.slice(start, 7) for start in range(0, N_IMAGES, 7)]), result.test)
    assert apart.summarise() == whole.summarise() == result.test.summarise(result.columns)
    assert (apart.digest, apart.count, apart.scored) == (whole.digest, N_IMAGES, N_IMAGES)
    assert apart.summarise()["clean_accuracy"]["value"] == result.summary["clean_accuracy"]["value"]


def test_few_images_are_drawn_one_by_one_as_all_at_once(result):
    apart = Tally(Rows(lambda: [result.rows.slice(start, 7) for start in range(0, N_IMAGES, 7)]), result.test)
    assert apart.summarise() == result.test.summarise(result.columns)


@pytest.mark.parametrize("test", ["road", "fidelity", "localisation", "segmentation", "irof"])
def test_every_kind_of_columns_comes_to_the_same(test, monkeypatch):
    monkeypatch.setattr(rows, "_BLOCK", 1)
    study = evaluate(["embedded/teacher", "embedded/kd"], EmbeddedDataset("test", size=8), tests=[test])
    found = study.results[-1]
    apart = Tally(Rows(lambda: [found.rows.slice(start, 3) for start in (0, 3, 6)]), found.test)
    assert apart.summarise() == found.test.summarise(found.columns)
    assert (found.test.columns_of_all) == (test in ("fidelity", "localisation"))


class Halves(Evaluation):
    """A test of whose images some have no value."""

    name, title, citation, needs_maps = "halves", "Halves", "for the test", False

    def rows(self, batch):
        raise NotImplementedError

    def columns(self, rows):
        return defined_columns(rows, ["value"])

    def specs(self):
        return (mean_score("value", "value"),)


@pytest.mark.parametrize("values", [[None, None, None, 3.0, 4.0, 5.0], [3.0, 4.0, 5.0, None, None, None]])
def test_a_column_that_some_parts_lack_is_taken_of_all(values, monkeypatch):
    monkeypatch.setattr(rows, "_BLOCK", 1)
    table = table_of(range(6)).set_column(4, "value", pa.array(values)).append_column("label", pa.array([0, 1] * 3))
    apart = Rows(lambda: [table.slice(0, 3), table.slice(3)])
    test = Halves(Halves.Protocol())
    assert Tally(apart, test).summarise()["value"]["value"] == 4.0
    assert scores_by_class(test, apart)["value"].tolist() == [4.0, 4.0]


def test_a_test_that_summarises_in_its_own_way_is_asked_to(monkeypatch):
    class Own(Halves):
        def summarise(self, rows):
            return {"value": len(rows["value"])}

    assert Tally(Rows.of(table_of(range(6))), Own(Own.Protocol())).summarise() == {"value": 6}


def test_many_rows_are_read_when_they_are_asked_for(tmp_path, result, monkeypatch):
    monkeypatch.setattr(tally, "HELD", 10)
    monkeypatch.setattr(parts, "_ROWS_PER_PART", 8)
    given = {"fractions": (0.2, 0.5), "batch_size": 8, "figures": False}
    data = EmbeddedDataset("test", size=N_IMAGES)
    found = perturbation_test("embedded/kd", data, output=tmp_path, **given)
    assert "table" not in vars(found.stored) and found.summary["positive"] == result.summary["positive"]
    assert len(list((tmp_path / "rows").iterdir())) == 8
    stored = read_run(tmp_path)[2]
    assert set(stored.columns) == set(to_columns(scored_rows(result.rows)))
    for name, values in to_columns(scored_rows(result.rows)).items():
        assert np.array_equal(stored.columns[name], values)
    with pytest.raises(KeyError):
        stored.columns["nothing"]
    assert "table" not in vars(stored)
    assert found.rows.equals(result.rows) and "table" in vars(found.stored)
    assert perturbation_test("embedded/kd", data, output=tmp_path, **given).continued == N_IMAGES


def test_scores_by_class_are_those_of_the_classes_images(result):
    table = result.by_class()
    columns = result.columns
    assert table["class"].tolist() == sorted(set(columns["label"].tolist()))
    assert table["n_images"].tolist() == [int((columns["label"] == number).sum()) for number in table["class"]]
    for place, number in enumerate(table["class"]):
        own = {name: values[columns["label"] == number] for name, values in columns.items()}
        summary = result.test.summarise(own)
        for name in ("clean_accuracy", "positive.auc", "between.auc", "tie_share"):
            expected = result.test.spec(name).of(summary)["value"]
            assert table[name][place] == pytest.approx(expected, abs=1e-12)
    right = (columns["predicted"] == columns["label"]).mean()
    assert np.average(table["clean_accuracy"], weights=table["n_images"]) == pytest.approx(right)


def test_scores_by_class_of_columns_that_are_made_of_all_images():
    study = evaluate("embedded/kd", EmbeddedDataset("test", size=12), tests=["localisation"])
    (found,) = study.results
    table = found.by_class()
    labels = found.columns["label"]
    for place, number in enumerate(table["class"]):
        own = {name: values[labels == number] for name, values in found.columns.items()}
        expected = found.test.summarise(own)["max_box_acc_v2"]["value"]
        assert table["max_box_acc_v2"][place] == pytest.approx(expected, abs=1e-12)


def test_images_without_a_label_are_of_no_class(result):
    unlabelled = result.rows.set_column(4, "label", pa.array([-1, 3] * (N_IMAGES // 2)))
    assert result.rows.column_names[4] == "label"
    table = scores_by_class(result.test, Rows.of(unlabelled))
    assert table[["class", "n_images"]].values.tolist() == [[3, N_IMAGES // 2]]
    nothing = scores_by_class(result.test, Rows.of(result.rows.set_column(4, "label", pa.array([-1] * N_IMAGES))))
    assert isinstance(nothing, pd.DataFrame) and nothing.empty and "positive.auc" in nothing
