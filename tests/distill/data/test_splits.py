"""Training, held-out and test images, and data that cannot be trained on."""

import pytest

from distill.training.train import train
from tests.distill.conftest import write_cifar10
from xkd_eval.errors import XkdError


def test_bad_data_is_one_line(recipe_of, tmp_path, cifar10):
    def data(path, **changes):
        return {"loader": "device", "path": str(path), **changes}

    with pytest.raises(XkdError, match="leaves an empty split"):
        train(recipe_of(data=data(cifar10, val_split=0.001)), tmp_path / "run", device="cpu")
    with pytest.raises(XkdError, match="data: missing"):
        train(recipe_of(data={"loader": "device"}), tmp_path / "run", device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(XkdError, match="data"):
        train(recipe_of(data=data(tmp_path / "empty")), tmp_path / "run", device="cpu")


def test_data_of_other_classes_than_the_test_images(recipe_of, tmp_path):
    folder = write_cifar10(tmp_path / "few", classes=10)
    (folder / "test_batch").unlink()
    with pytest.raises(XkdError, match="data"):
        train(recipe_of(data={"loader": "device", "path": str(folder)}), tmp_path / "run", device="cpu")
