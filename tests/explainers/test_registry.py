"""Names, options, citations; and that listing them imports nothing heavy."""

import subprocess
import sys

import pytest

from xkd_eval.errors import XkdError
from xkd_eval.explainers import create_explainer, list_explainers

NAMES = {
    *("cam", "gradcam", "gradcam++", "xgradcam", "layercam", "hirescam", "eigencam", "eigengradcam", "scorecam"),
    *("ablationcam", "fullgrad", "saliency", "input_x_gradient", "integrated_gradients", "gradient_shap", "deeplift"),
    *("guided_backprop", "guided_gradcam", "occlusion", "feature_ablation", "attention_rollout"),
    *("transformer_attribution", "random", "centre", "edges", "oracle"),
}


def test_all_are_known_and_cited():
    listed = list_explainers()
    assert {explainer.name for explainer in listed} == NAMES
    assert all(explainer.citation and explainer.cost for explainer in listed)
    assert [create_explainer(name).name for name in sorted(NAMES)] == sorted(NAMES)


def test_unknown_name_gets_the_nearest():
    with pytest.raises(XkdError, match=r"unknown 'grad-cam'; nearest: .*gradcam"):
        create_explainer("grad-cam")


def test_unknown_option_is_named():
    with pytest.raises(XkdError, match=r"explainer 'cam': unknown option 'relu'; expected one of reduction, clamp"):
        create_explainer("cam", relu=True)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cam", {"reduction": "max"}),
        ("centre", {"sigma": 0}),
        ("integrated_gradients", {"steps": 0}),
        ("gradient_shap", {"noise": -1}),
        ("occlusion", {"windows": 1.5}),
        ("feature_ablation", {"segments": -2}),
    ],
)
def test_bad_values_are_refused_with_the_option_named(name, options):
    with pytest.raises(XkdError, match=next(iter(options))):
        create_explainer(name, **options)


def test_parameters_are_what_was_asked_for():
    assert create_explainer("occlusion", windows=5).parameters() == {"windows": 5, "overlap": 2}


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, xkd_eval.explainers as e; e.list_explainers();"
        "print(*{m.split('.')[0] for m in sys.modules} & {'captum', 'pytorch_grad_cam', 'timm', 'torchvision',"
        " 'skimage', 'matplotlib', 'sklearn'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
