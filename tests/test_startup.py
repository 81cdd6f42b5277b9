"""A command imports what it uses and no more: which of the large libraries each brings, told by fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from PIL import Image

HEAVY = (
    *("accelerate", "captum", "cv2", "fsspec", "h5py", "jinja2", "matplotlib", "onnxruntime", "pandas", "pyarrow"),
    *("pytorch_grad_cam", "scipy", "skimage", "sklearn", "sympy", "timm", "torch", "torch._dynamo", "torchvision"),
)
"""Large libraries: the import of one takes from 20 ms to as long as that of torch."""

_LIMITED = "--limit 4 --device cpu --workers 0"
_RUN = {"torch", "accelerate", "pyarrow", "pandas", "matplotlib"}  # pyarrow imports pandas where it is installed

COMMANDS = {
    "--help": set(),
    "inspect --help": set(),
    "perturbation --help": set(),
    "segmentation --help": set(),
    "overlay --help": set(),
    "compare --help": set(),
    "evaluate --help": set(),
    "check --help": set(),
    "table --help": set(),
    "demo --help": set(),
    "card --help": set(),
    "explainers": {"torch"},
    "tests": {"torch"},
    "inspect embedded/kd": {"torch"},
    "overlay photo.png --device cpu -o overlay.png": {"torch", "accelerate", "matplotlib"},
    f"perturbation {_LIMITED}": _RUN | {"jinja2", "skimage", "scipy"},  # for its page, and the edges of a floor
    f"segmentation {_LIMITED}": _RUN | {"jinja2", "skimage", "scipy"},  # Otsu's threshold
    f"evaluate embedded/teacher embedded/kd {_LIMITED} -o study": _RUN | {"jinja2"},
    f"card embedded/kd --data embedded {_LIMITED} -o card/README.md": _RUN,
    f"compare embedded/teacher embedded/kd {_LIMITED} -o report": _RUN | {"skimage", "scipy", "jinja2"},
    "table study": _RUN,
}
"""What xkd-eval is called with -> which of HEAVY it may import: what else it brought would be imported for nothing."""

STATEMENTS = {
    "import xkd_eval": set(),
    "from xkd_eval import explain, load_classifier, class_activation_maps, open_dataset": {"torch"},
    "from xkd_eval import perturbation_test, segmentation_test": {"torch", "pyarrow"},
    "import xkd_eval; xkd_eval.explain('embedded', 'photo.png', explainer='random')": {"torch", "accelerate"},
}
"""What a user of the library writes -> the same."""

# Each is run in a fork of one process, which imports torch after those that must do without it.
FORKED = """
import json, os, sys, traceback
heavy, runs = json.load(sys.stdin)

def imported(run):
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            if "import" in run:
                exec(run)
            else:
                from xkd_eval.cli import app
                app(run.split(), standalone_mode=False)
            found = [name for name in heavy if name in sys.modules]
        except BaseException:
            found = traceback.format_exc()
        os.write(writer, json.dumps(found).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as found:
        return json.load(found)

def told(runs):
    return {run: imported(run) for run in runs}

light = told(run for run, has_torch in runs.items() if not has_torch)
import torch
heavier = told(run for run, has_torch in runs.items() if has_torch)
print("\\n" + json.dumps(light | heavier))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> dict[str, list[str] | str]:
    """Of every command and statement above, which of HEAVY it has imported in the end; a traceback where it failed."""
    folder = tmp_path_factory.mktemp("startup")
    Image.new("RGB", (64, 64), "navy").save(folder / "photo.png")
    runs = {run: "torch" in allowed for run, allowed in (COMMANDS | STATEMENTS).items()}
    ended = subprocess.run(
        [sys.executable, "-c", FORKED],
        input=json.dumps([HEAVY, runs]),
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # threads do not survive a fork
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.mark.parametrize("run", [*COMMANDS, *STATEMENTS])
def test_only_what_is_used_is_imported(run, imported):
    assert isinstance(imported[run], list), imported[run]
    assert set(imported[run]) <= (COMMANDS | STATEMENTS)[run]
