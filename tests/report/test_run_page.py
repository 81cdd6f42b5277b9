"""The page of a run and of a study: what stands on it, and that it opens without a fault."""

from __future__ import annotations

import re

import pytest

from xkd_eval import evaluate, segmentation_test
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.report.run_page import write_run_page, write_study_page
from xkd_eval.study.evaluate import evaluate_one

COMMAND = "xkd-eval perturbation --model '<script>alert(1)</script>'"


class Damaged(EmbeddedDataset):
    """Of whose images the second cannot be read."""

    def load(self, position):
        from xkd_eval.errors import UnreadableImageError

        if position == 1:
            raise UnreadableImageError("<b>cut</b> off")
        return super().load(position)


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    images = Damaged("test", size=12)
    options = {"fractions": (0.5,), "workers": 0, "output": tmp_path_factory.mktemp("run") / "run"}
    return evaluate_one("perturbation", "embedded/kd", images, floors=True, **options)


@pytest.fixture(scope="module")
def html(result):
    return write_run_page(result, COMMAND).read_text()


def test_a_run_has_its_scores_beside_the_floors_its_figures_and_what_was_skipped(result, html):
    head = re.search(r"<h1>(.*?)</h1>", html)[1]
    area = result.summary["between"]["auc"]["value"]
    floors = {
        name: floor.summary["between"]["auc"]["value"] for name, floor in result.floors.items() if name != "oracle"
    }
    best = max(floors, key=floors.get)
    assert f"area between the curves {100 * area:.1f} %" in head
    assert f"(the best map that knows nothing, {best}: {100 * floors[best]:.1f} %)" in head
    assert html.count('class="floors"') >= 5 and "<svg" in html and "data:image/png" in html
    assert "1 image skipped" in html and "&lt;b&gt;cut&lt;/b&gt; off" in html
    assert "alert(1)</script>" not in html and "tie_seed" in html
    addresses = set(re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", html))
    assert {address.partition(":")[0] for address in addresses} <= {"data"}


def test_it_is_the_same_each_time(result, html):
    assert write_run_page(result, COMMAND).read_text() == html


def test_a_study_has_a_row_a_model_and_kind_of_maps(tmp_path):
    images = EmbeddedDataset("test", size=8)
    study = evaluate(
        {"<b>kd</b>": "embedded/kd", "plain": "embedded/plain"},
        images,
        explainers=["cam", "random"],
        tests=["perturbation:fill=mean", "segmentation"],
        output=tmp_path,
    )
    html = (tmp_path / "report.html").read_text()
    assert html == write_study_page(study).read_text()
    assert "<b>kd</b>" not in html and "&lt;b&gt;kd&lt;/b&gt;" in html
    assert "Perturbation test</h2>" in html and "Segmentation test</h2>" in html
    rows = re.findall(r'<th scope="row">([^<]*)</th><td class="name">([^<]*)</td>', re.sub(r"\s*\n\s*", "", html))
    assert rows.count(("plain", "cam")) == rows.count(("plain", "random")) == 2
    assert "plain, cam: ties" in html


def test_a_test_in_python_leaves_the_page_where_it_draws(tmp_path):
    images = EmbeddedDataset("test", size=6)
    segmentation_test("embedded/kd", images, output=tmp_path / "drawn")
    segmentation_test("embedded/kd", images, output=tmp_path / "bare", figures=False)
    assert re.search("<h1>.*mIoU", (tmp_path / "drawn" / "report.html").read_text())
    assert not (tmp_path / "bare" / "report.html").exists()
