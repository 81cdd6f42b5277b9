"""The input conventions that libraries and data sets publish, each with what says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xkd_eval.classifiers.input_source import InputSource
from xkd_eval.classifiers.overrides import with_overrides
from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.foreign import reading

DEFAULT = InputSource("default", is_assumed=True)

_RESIZES = {"center": "crop", "squash": "squash_crop"}
_CIFAR_SIZE = (32, 32)
# Mean and std over all pixels of the training images, to the digits that most training scripts have; this project's
# recipes of CIFAR train with the same. (The std of 0.2023 that others have is the mean of the single images' std.)
_CIFAR = {
    10: ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    100: ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}


def timm_preprocess(module: Any) -> Preprocess:
    """The input convention of a module that timm made; the default for any other.

    Raises:
        XkdError: it asks for what a Preprocess cannot, such as padding.
    """
    config = _timm_config(module)
    if config is None:
        return Preprocess()
    where = "model: its pretrained_cfg"
    with reading(f"{where} is not as timm writes it", "correct it, or delete the attribute and give `size` and `mean`"):
        mode, share = config.get("crop_mode") or "center", config.get("crop_pct") or 1.0
        is_whole = mode == "squash" and share == 1
        values = {
            "size": tuple(config["input_size"][1:]),
            "resize": "squash" if is_whole else _RESIZES.get(mode, mode),
            "interpolation": config["interpolation"],
            "mean": tuple(config["mean"]),
            "std": tuple(config["std"]),
            "crop_fraction": share,
        }
    return Preprocess.from_dict({**Preprocess().to_dict(), **values}, where)


def timm_source(module: Any, *, foreign: bool) -> InputSource:
    """Who says what `timm_preprocess` returns.

    Args:
        module: of timm, or any other.
        foreign: whether its weights are others than those that the module came with.
    """
    config = _timm_config(module)
    if config is None:
        return DEFAULT
    name = config.get("architecture") or type(module).__name__
    return InputSource(f"timm's config of {name}", is_assumed=foreign)


def torchvision_preprocess(transforms: Any) -> Preprocess:
    """The input convention of the transforms that torchvision publishes with weights."""
    return Preprocess(
        size=(transforms.crop_size[0],) * 2,
        resize="crop",
        interpolation=transforms.interpolation.value,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        crop_fraction=transforms.crop_size[0] / transforms.resize_size[0],
    )


def cifar_input(num_classes: int) -> tuple[Preprocess, InputSource]:
    """What a CIFAR architecture was most probably trained with: CIFAR-10's or CIFAR-100's own mean and std at 32x32.

    Args:
        num_classes: of the head; the default for any other than 10 and 100.
    """
    if num_classes not in _CIFAR:
        return Preprocess(size=_CIFAR_SIZE), DEFAULT
    mean, std = _CIFAR[num_classes]
    source = InputSource(f"CIFAR-{num_classes}'s", only_at=_CIFAR_SIZE)
    return Preprocess(size=_CIFAR_SIZE, mean=mean, std=std), source


def corrected(
    preprocess: Preprocess, source: InputSource, overrides: Mapping[str, Any]
) -> tuple[Preprocess, InputSource]:
    """A convention with what the user says instead.

    Args:
        preprocess, source: the model's own.
        overrides: fields of Preprocess.

    Raises:
        XkdError: see `with_overrides`.
    """
    changed = with_overrides(preprocess, overrides)
    if source.only_at is not None and changed.size != source.only_at:
        changed, source = with_overrides(Preprocess(), overrides), DEFAULT
    return changed, source.but("option", [name for name, value in overrides.items() if value is not None])


def _timm_config(module: Any) -> Mapping[str, Any] | None:
    config = getattr(module, "pretrained_cfg", None)
    return config if isinstance(config, Mapping) and "mean" in config else None
