"""Grids for networks of one input size, and of tokens."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from tests.evaluations.grid_pointing.conftest import LISTED, Listed
from xkd_eval import XkdError, evaluate, load_classifier
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.study.geometry import at_size


class OneSize(nn.Module):
    """A network whose head reads the map flattened, at one size."""

    def __init__(self, side: int = 16) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 4, 3, stride=4, padding=1)
        self.head = nn.Linear(4 * (side // 4) ** 2, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(images)).flatten(1))


class OneSizeTokens(nn.Module):
    """A token model with an embedding a position."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.positions = nn.Parameter(torch.zeros(1, 16, 8))
        self.blocks = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8))
        self.head = nn.Linear(8, 10)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        return self.head(self.blocks(tokens)[:, 0])


class TestOtherNetworks:
    def test_a_network_of_one_input_size_gets_the_grid_scaled_down(self, images):
        model = load_classifier(OneSize(), size=16)
        found = evaluate({"fixed": model}, images, tests=[LISTED], explainers=["gradcam", "saliency"])
        for result in found.results:
            assert set(result.columns["tile_scale"]) == {0.5}
            assert result.summary["tile_scale"] == 0.5
            assert any("scaled down" in note for note in result.test.notes(result.summary))

    def test_the_scaled_grid_is_resized_by_the_networks_own_filter(self, images):
        view = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
        preprocess = Preprocess(size=(16, 16), interpolation="bicubic", resize="crop")
        expected = Image.fromarray(view.permute(1, 2, 0).numpy()).resize((16, 16), Image.Resampling.BICUBIC)
        assert np.array_equal(at_size(view, preprocess).permute(1, 2, 0).numpy(), np.asarray(expected))

    def test_a_token_model_of_one_input_size_is_refused_before_any_photograph_is_read(self):
        model = load_classifier(OneSizeTokens(), size=16)
        with pytest.raises(XkdError, match=r"^models: tokens is a token model for 16x16 alone, and a grid has 32x32"):
            evaluate(
                {"tokens": replace_name(model, "tokens")}, Listed(range(10)), tests=[LISTED], explainers=["random"]
            )

    def test_a_token_model_that_interpolates_its_positions_is_scored(self, images):
        timm = pytest.importorskip("timm")
        torch.manual_seed(0)
        vit = timm.models.VisionTransformer(
            img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=10, dynamic_img_size=True
        )
        model = load_classifier(vit, size=32)
        found = evaluate({"vit": model}, images, tests=[LISTED], explainers=["saliency", "attention_rollout"], limit=8)
        assert all(result.summary["tile_scale"] == 1 for result in found.results)


def replace_name(model, name):
    model.name = name
    return model
