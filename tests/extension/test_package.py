"""An outsider's package, really installed: found by its entry points, and what of it is broken costs nothing else."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import torch

from xkd_eval.testing import check_dataset, check_explainer, check_test

REPOSITORY = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "package"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment of its own, which sees this one's packages and has the outsider's installed."""
    folder = tmp_path_factory.mktemp("outsider")
    venv.create(folder / "env", with_pip=False, symlinks=True)
    interpreter = folder / "env" / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "env"), "platbase": str(folder / "env")}))
    (site / "here.pth").write_text(f"{sysconfig.get_path('purelib')}\n{REPOSITORY}\n")
    build = folder / "package"  # setuptools builds beside the sources
    build.mkdir()
    for path in PACKAGE.rglob("*"):
        if path.suffix in (".py", ".toml"):
            (build / path.relative_to(PACKAGE)).parent.mkdir(exist_ok=True)
            (build / path.relative_to(PACKAGE)).write_text(path.read_text())
    import ensurepip

    (wheel,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    run(
        interpreter,
        *(f"{wheel}/pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-input"),
        *("--disable-pip-version-check", str(build)),
        cwd=folder,
    )
    return interpreter


def run(interpreter, *arguments, cwd):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([interpreter, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def outsider(monkeypatch):
    """The package's sources, in this process."""
    monkeypatch.syspath_prepend(PACKAGE)
    yield
    for name in [name for name in sys.modules if name.startswith("xkd_outsider")]:
        del sys.modules[name]


def test_its_parts_hold_to_the_contract(outsider):
    check_explainer("py:xkd_outsider.explainer:Blob:sigma=2")
    check_dataset("py:xkd_outsider.dataset:Stripes:5")
    check_test("py:xkd_outsider.evaluation:UpperHalf:share=0.3")


def test_a_broken_plug_in_is_named_and_the_rest_is_listed(python, tmp_path):
    done = run(python, "-m", "xkd_eval", "explainers", cwd=tmp_path)
    assert "blob" in done.stdout and "nobody, nowhere" in done.stdout and "cam" in done.stdout
    reason = "'broken' cannot be used: the package xkd-outsider fails to import (ModuleNotFoundError: No module named"
    assert reason in " ".join(done.stderr.split()) and "Traceback" not in done.stderr


def test_everything_by_its_name(python, tmp_path, outsider):
    from xkd_outsider.network import OutsiderNet

    torch.save(OutsiderNet(2, width=8).state_dict(), tmp_path / "weights.pt")
    summary = evaluated(python, tmp_path, "xkd/outsider_net", "blob:sigma=2", "stripes:6", "--weights", "weights.pt")
    assert summary["n_images"] == 6 and summary["data"]["name"] == "stripes-val"
    assert summary["explainer"] == {"name": "blob", "sigma": 2.0}


def test_everything_by_where_it_stands(python, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from xkd_outsider.dataset import Stripes\n"
        "from xkd_outsider.explainer import Blob\n"
        "from xkd_outsider.network import make\n"
    )
    summary = evaluated(python, tmp_path, "py:mine:make", "py:mine:Blob:sigma=3", "py:mine:Stripes:4", "--workers", "1")
    assert summary["n_images"] == 4 and summary["explainer"]["sigma"] == 3.0


def test_an_own_test_stands_beside_ours(python, tmp_path):
    tests = "segmentation,upper_half:share=0.25"
    done = run(
        *(python, "-m", "xkd_eval", "evaluate", "embedded/teacher", "embedded/kd", "--limit", "4", "--test", tests),
        *("--device", "cpu", "-o", "study"),
        cwd=tmp_path,
    )
    assert "Upper half" in done.stdout and "mIoU" in done.stdout
    scores = (tmp_path / "study" / "scores.csv").read_text()
    assert "kd,cam,upper_half,upper" in scores


def evaluated(python, folder, model, explainer, data, *options):
    run(
        *(python, "-m", "xkd_eval", "segmentation", "--model", model, "--explainer", explainer, "--data", data),
        *("--size", "32", "--device", "cpu", "-o", "run", *options),
        cwd=folder,
    )
    return json.loads((folder / "run" / "summary.json").read_text())
