"""Comparisons of what is hardly anything, under names that are hardly names: all is drawn, nothing warns."""

from dataclasses import replace

import numpy as np
import pytest

from xkd_eval import compare
from xkd_eval.comparison.verdict import verdict
from xkd_eval.datasets.embedded import EmbeddedDataset
from xkd_eval.report.write import write_report

HOSTILE = "=cmd|'!A0 <script>alert(1)</script> \x1b[31m\u202e[red]*x* `y` \\ \n\0 & {} #1 $x$"
NAMES = (HOSTILE, "x" * 300)


class Odd(EmbeddedDataset):
    """One image, of whose answers none is right."""

    def __init__(self):
        super().__init__("test", size=1)
        self.name, self.ids, self.labels = "=odd", ["-../../x"], [(self.labels[0] + 1) % 10]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("odd")


@pytest.fixture(scope="module")
def found(place):
    models = dict(zip(NAMES, ("embedded/teacher", "embedded/kd"), strict=True))
    return compare(models, Odd(), output=place / "report", fractions=(0.5,), command=HOSTILE)


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")
def test_one_image_is_reported_whatever_it_and_the_models_are_called(place, found):
    assert sorted(path.name for path in place.iterdir()) == ["report"]
    html = (place / "report/report.html").read_text()
    assert "<script>alert" not in html and not set("\x1b\u202e\0") & set(html)
    table = (place / "report/tables/scores.csv").read_text().splitlines()
    assert any(line.startswith("\"'=cmd") or line.startswith("'=cmd") for line in table)
    assert "'-../../x" in (place / "report/tables/images.csv").read_text()
    assert "\x1b" not in repr(found) and "<script>" not in found._repr_html_()
    for name in ("headlines.md", "headlines.tex"):
        assert not set("\x1b\u202e\0") & set((place / "report/tables" / name).read_text())


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")
@pytest.mark.parametrize("undefined", [("low", "high"), ("low", "high", "value")])
def test_figures_and_tables_do_without_intervals_and_values(found, tmp_path, undefined):
    def without(table):
        return table.assign(**dict.fromkeys(undefined, np.nan))

    names = ("scores", "differences", "agreement", "transfer", "curves")
    images = found.images.assign(**dict.fromkeys(set(found.agreement["measure"]), np.nan))
    bare = replace(found, images=images, **{name: without(getattr(found, name)) for name in names})
    html = write_report(tmp_path, bare, size=4).read_text()
    assert "nan" not in html.replace("nan,", "").partition("<main>")[2].partition("<svg")[0]
    assert ("undefined" in html) or "value" not in undefined
    assert "nan" not in verdict(bare)
