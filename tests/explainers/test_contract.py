"""What holds for every explainer, on a convolutional network and on a transformer; what does not hold says so."""

import pytest

from xkd_eval.errors import ExplainerError
from xkd_eval.explainers import EXPLAINERS, create_explainer, list_explainers
from xkd_eval.explainers.holding import check_holds
from xkd_eval.explainers.stored import StoredMaps, save_maps
from xkd_eval.testing import check_explainer

NAMES = [explainer.name for explainer in list_explainers() if EXPLAINERS.is_own(explainer.name)]
FEWER = {"rise": "rise:masks=40"}
FOR_TRANSFORMERS = ["attention_rollout", "transformer_attribution"]
NOT_FOR_TRANSFORMERS = ["cam", "fullgrad", "deeplift", "guided_backprop", "guided_gradcam"]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FOR_TRANSFORMERS])
def test_the_contract_on_a_convolutional_network(name, classifier):
    check_explainer(FEWER.get(name, name), classifier)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_FOR_TRANSFORMERS])
def test_the_contract_on_a_transformer(name, vit):
    check_explainer(FEWER.get(name, name), vit)


def test_the_contract_of_stored_maps(tmp_path, images):
    save_maps(tmp_path, ["a", "b", "c"], images[:, 0])
    check_explainer(StoredMaps(tmp_path))


@pytest.mark.parametrize("name", NOT_FOR_TRANSFORMERS)
def test_what_does_not_hold_for_transformers_says_so_and_names_others(name, vit):
    with pytest.raises(ExplainerError, match=r"; use gradcam, layercam or eigencam$"):
        check_holds(create_explainer(name), vit)


@pytest.mark.parametrize("name", FOR_TRANSFORMERS)
def test_what_needs_a_transformer_says_so_and_names_others(name, classifier):
    with pytest.raises(ExplainerError, match=f"'{name}': SmallNetwork is no ViT, .*; use cam, gradcam or layercam"):
        check_holds(create_explainer(name), classifier)


def test_what_looks_at_no_network_says_so():
    free = [name for name in NAMES if create_explainer(name).model_free]
    assert free == ["random", "centre", "edges", "fake_cam", "oracle"] and StoredMaps.model_free
    assert StoredMaps.reads_size and not any(create_explainer(name).reads_size for name in NAMES)
