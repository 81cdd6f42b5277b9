"""The image processors of transformers, as a Preprocess."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xkd_eval.classifiers.preprocess import Preprocess
from xkd_eval.errors import XkdError
from xkd_eval.foreign import reading, short

_FILE = "preprocessor_config.json"
_INTERPOLATIONS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by PIL's numbers
_WARPED_FROM = 384  # ConvNeXt's processor crops smaller images, and squashes those from there on


def preprocess_of(folder: Path, where: str) -> Preprocess:
    """The input convention that a repository's preprocessor_config.json describes.

    Args:
        folder: of the repository.
        where: begins the message.

    Raises:
        XkdError: there is none, or it asks for what a Preprocess has not.
    """
    path = folder / _FILE
    if not path.is_file():
        raise XkdError(f"{where} has no {_FILE}, which says how images are prepared; give a folder that has it")
    from transformers import AutoImageProcessor

    with reading(f"{where}: its {_FILE} cannot be read", "download it again"):
        # Files leave out what their class has by default.
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return Preprocess(**_values(processor.to_dict(), f"{where}: its {_FILE}"))


def _values(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    values = _geometry(config, where)
    resample = config.get("resample", 2)
    if not isinstance(resample, int) or not 0 <= resample < len(_INTERPOLATIONS):
        raise XkdError(f"{where} has resample {short(resample)}; expected one of PIL's numbers, 0 to 5")
    values["interpolation"] = _INTERPOLATIONS[resample]
    is_scaled = config.get("do_rescale", True)
    scale = float(config.get("rescale_factor", 1 / 255)) * 255 if is_scaled else 255.0
    offset = 1.0 if config.get("rescale_offset") else 0.0  # EfficientNet's: from -1 on
    is_normalised = config.get("do_normalize", True)
    mean = config.get("image_mean", [0.5] * 3) if is_normalised else [0.0] * 3
    std = config.get("image_std", [0.5] * 3) if is_normalised else [1.0] * 3
    values["mean"] = tuple(float(value) + offset for value in mean)
    values["std"] = tuple(map(float, std))
    values["value_range"] = scale
    if config.get("do_flip_channel_order"):
        values["channel_order"] = "BGR"
    return values


def _geometry(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    size, crop = config.get("size", 224), config.get("crop_size", 224)
    crops = bool(config.get("do_center_crop"))
    if isinstance(size, Mapping) and {"height", "width"} <= size.keys():
        sides = (int(size["height"]), int(size["width"]))
        kept = _sides(crop) if crops else sides
        if kept == sides:
            return {"size": sides, "resize": "squash"}
        shares = {inner / outer for inner, outer in zip(kept, sides, strict=True)}
        if len(shares) > 1:
            raise XkdError(f"{where} crops {kept[0]}x{kept[1]} out of {sides[0]}x{sides[1]}; expected one proportion")
        return {"size": kept, "resize": "squash_crop", "crop_fraction": shares.pop()}
    short_side = int(size["shortest_edge"] if isinstance(size, Mapping) else size)
    if "crop_pct" in config:  # ConvNeXt's way
        share = float(config["crop_pct"] or 224 / 256)
        squashes = short_side >= _WARPED_FROM
        return {"size": (short_side,) * 2, "resize": "squash" if squashes else "crop", "crop_fraction": share}
    if not crops:
        resize = "crop" if isinstance(size, Mapping) else "squash"
        return {"size": (short_side,) * 2, "resize": resize, "crop_fraction": 1.0}
    kept = _sides(crop)
    return {"size": kept, "resize": "crop", "crop_fraction": min(kept) / short_side}


def _sides(value: Any) -> tuple[int, int]:
    if isinstance(value, Mapping):
        return int(value["height"]), int(value["width"])
    return (int(value[0]), int(value[1])) if isinstance(value, list | tuple) else (int(value), int(value))
