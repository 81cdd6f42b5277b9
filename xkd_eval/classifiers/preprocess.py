"""How a photograph becomes a network's input: geometry in PIL, arithmetic in torch on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, overload

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xkd_eval.bands import Bands, Picture, depth_of
from xkd_eval.classifiers.preprocess_values import checked
from xkd_eval.errors import UnreadableImageError, XkdError
from xkd_eval.foreign import short
from xkd_eval.registry import nearest
from xkd_eval.wording import counted

Resize = Literal["squash", "crop", "squash_crop"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
ChannelOrder = Literal["RGB", "BGR"]

_PIL_FILTER: dict[str, Image.Resampling] = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Of a photo scaled for its crop, which a strip of one pixel's width brings to gigabytes; PIL decodes no more either.
_MOST_PIXELS = 2**27


@dataclass(frozen=True)
class Preprocess:
    """A classifier's input convention: how a photograph becomes what its network is fed with.

    Wherever it comes from (a checkpoint, a recipe, timm, a caller), its values are checked when it is made: XkdError
    names the field. One number stands for both sides of `size`, and for all channels of `mean` and `std`.

    Attributes:
        size: (height, width) of the network's input.
        resize: "squash" ignores the aspect ratio; "crop" scales the short side to size / crop_fraction and cuts the
            centre out; "squash_crop" ignores the aspect ratio on the way to size / crop_fraction, and cuts it out.
        interpolation: the PIL filter.
        mean, std: per channel, in the network's own channel order and value range. One of each makes a network of one
            channel, which is given the luminance (ITU-R BT.601); others than one or three, a network that takes images
            of as many channels (see `bands.Bands`).
        channel_order: what the network was trained on.
        value_range: the value of white before normalising, 1 or 255; 65535 of uint16 are the numbers as stored.
        crop_fraction: share of the short side that the centre crop keeps, in (0, 1]; not read by resize="squash".

    Example:
        >>> from PIL import Image
        >>> from xkd_eval import Preprocess
        >>> preprocess = Preprocess(size=(224, 224), resize="crop")
        >>> pixels = preprocess.pixels(Image.new("RGB", (640, 480), "white"))
        >>> pixels.shape, pixels.dtype
        (torch.Size([3, 224, 224]), torch.uint8)
        >>> [round(value, 2) for value in preprocess.normalise(pixels[None])[0, :, 0, 0].tolist()]
        [2.25, 2.43, 2.64]
    """

    size: tuple[int, int] = (224, 224)
    resize: Resize = "squash"
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channel_order: ChannelOrder = "RGB"
    value_range: float = 1.0
    crop_fraction: float = 0.875

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, checked(field.name, getattr(self, field.name)))
        channels = next((len(values) for values in (self.mean, self.std) if isinstance(values, tuple)), 3)
        for name in ("mean", "std"):
            values = getattr(self, name)
            object.__setattr__(self, name, values if isinstance(values, tuple) else (values,) * channels)
        if len(self.mean) != len(self.std):
            found = f"{counted(len(self.mean), 'number')} beside {len(self.std)} of `std`"
            raise XkdError(f"mean: {found} found; expected one a channel in both")
        if self.channel_order != "RGB" and channels != 3:
            raise XkdError(
                f"channel_order: {self.channel_order} found, and the network has {counted(channels, 'channel')}"
            )

    @property
    def channels(self) -> int:
        """C, of the network's input."""
        return len(self.mean)

    @property
    def takes_photographs(self) -> bool:
        """Whether that is three channels, or the one that a photograph's luminance is."""
        return self.channels in (1, 3)

    def pixels(self, image: Picture) -> Tensor:
        """An RGB image of any size -> (3, H, W) uint8, always RGB, at the network's input size.

        Bands -> (C, H, W), uint8 or float32 in 0 to 1 as they are; C is the network's, or three for one of one channel.

        Raises:
            UnreadableImageError: a strip that the crop would blow up.
            XkdError: an image of other channels than the network takes.
        """
        resized = self._resized(self._taken(image))
        return torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous()

    def mask(self, mask: np.ndarray) -> Tensor:
        """The mask of a photo in the geometry of the network's input.

        Args:
            mask: (h, w) int8 of the photo at its own size: 1 object, 0 background, -1 ignored.

        Returns:
            (H, W) int8 with the same values: resized and cropped as the photo, by the nearest pixel.
        """
        nearest = replace(self, interpolation="nearest")
        layer = Image.fromarray(mask.astype(np.int8).view(np.uint8))
        resized = nearest._resized(layer)
        return torch.from_numpy(np.array(resized).view(np.int8))

    def normalise(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) RGB, uint8 or float in [0, 1] -> (B, C, H, W) float32, what the network is fed with.

        A network of neither one nor three channels is fed with images of as many, (B, C, H, W).
        """
        values = in_unit_range(pixels)
        if self.channels == 1 and values.shape[1] == 3:
            values = luminance(values)
        if values.shape[1] != self.channels:
            raise self._other_channels("images: ", values.shape[1])
        if self.channel_order == "BGR":
            values = values.flip(1)
        if self.value_range != 1.0:
            values = values * self.value_range
        return (values - self._per_channel(self.mean, values)) / self._per_channel(self.std, values)

    def denormalise(self, images: Tensor) -> Tensor:
        """The inverse of normalise: (B, C, H, W) normalised -> (B, 3, H, W) float32 RGB in [0, 1], grey of one channel.

        Of a network of neither one nor three channels it is the grey of their average.
        """
        values = images.float()
        values = values * self._per_channel(self.std, values) + self._per_channel(self.mean, values)
        values = (values / self.value_range).clamp(0, 1)
        if self.channels != 3:
            return values.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
        return values.flip(1) if self.channel_order == "BGR" else values

    def colour(self, rgb: tuple[float, float, float], like: Tensor) -> Tensor:
        """(C, 1, 1): an RGB colour in [0, 1] as the network sees it, on the device of `like`."""
        colour = torch.tensor(rgb, device=like.device).reshape(1, 3, 1, 1)
        if not self.takes_photographs:
            colour = luminance(colour).expand(-1, self.channels, -1, -1)
        return self.normalise(colour)[0]

    @property
    def mean_colour(self) -> tuple[float, float, float]:
        """The mean as an RGB colour in [0, 1], grey where there are not three channels."""
        mean = self.mean if self.channels == 3 else (sum(self.mean) / self.channels,) * 3
        red, green, blue = mean if self.channel_order == "RGB" else mean[::-1]
        return (red / self.value_range, green / self.value_range, blue / self.value_range)

    def region(self, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
        """Which part of a photo the network sees.

        Args:
            size: (width, height) of the photo in pixels.

        Returns:
            (left, top, right, bottom) in its pixels; None where it is the whole photo.
        """
        if self.resize == "squash":
            return None
        width, height = size
        scaled, (left, top) = self._geometry(width, height)
        x, y = width / scaled[0], height / scaled[1]
        return (left * x, top * y, (left + self.size[1]) * x, (top + self.size[0]) * y)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and protocols."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Any, where: str = "preprocess") -> Preprocess:
        """The inverse of to_dict.

        Args:
            values: every field, of plain values from outside.
            where: begins the message: the argument, the file.

        Raises:
            XkdError: a field that is missing or unknown, or a value that it cannot have.
        """
        known = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping):
            raise XkdError(f"{where}: {short(values)} found; expected {', '.join(known)}")
        if missing := [name for name in known if name not in values]:
            raise XkdError(f"{where}: {missing[0]}: missing; add it")
        if unknown := [name for name in values if name not in known]:
            raise XkdError(f"{where}: {short(unknown[0])}: nothing reads it; {nearest(str(unknown[0]), known)}")
        try:
            return cls(**values)
        except XkdError as error:
            raise XkdError(f"{where}: {error}") from None

    def _taken(self, image: Picture) -> Picture:
        """What a network of so many channels takes of an image."""
        depth = depth_of(image)
        if depth == self.channels or (depth == 3 and self.channels == 1):
            return image
        if isinstance(image, Bands):
            if image.photograph is not None and self.takes_photographs:
                return image.photograph
            if self.channels == image.height:
                shape = f"its shape is {image.array.shape}, and channels come last"
                raise self._other_channels("", depth, f"; {shape}")
        raise self._other_channels("", depth)

    def _other_channels(self, where: str, found: int, more: str = "") -> XkdError:
        expected = "expected photographs for networks of one or three, and for others images of as many (.npy, .tif)"
        return XkdError(
            f"{where}{counted(found, 'channel')} found, and the network takes {self.channels}; {expected}{more}"
        )

    @overload
    def _resized(self, image: Image.Image) -> Image.Image: ...
    @overload
    def _resized(self, image: Picture) -> Picture: ...
    def _resized(self, image: Picture) -> Picture:
        height, width = self.size
        if self.resize == "squash":
            return image.resize((width, height), _PIL_FILTER[self.interpolation])
        scaled, (left, top) = self._geometry(image.width, image.height)
        if scaled[0] * scaled[1] * depth_of(image) > 3 * _MOST_PIXELS:
            found = f"{image.width}x{image.height} pixels would be scaled to {scaled[0]}x{scaled[1]}"
            raise UnreadableImageError(f"{found} before the crop; expected a photo")
        resized = image.resize(scaled, _PIL_FILTER[self.interpolation])
        return resized.crop((left, top, left + width, top + height))

    def _geometry(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The (width, height) that a photo is scaled to, and the (left, top) of the crop in it."""
        crop_height, crop_width = self.size
        # torchvision's and timm's rule: the short side is floor(size / crop_fraction), the long side is truncated, the
        # offset rounded. The epsilon keeps 224 / (224 / 232) at 232.
        short_height, short_width = (int(side / self.crop_fraction + 1e-6) for side in self.size)
        if self.resize == "squash_crop":
            scaled = (short_width, short_height)
        elif short_height / height >= short_width / width:
            scaled = (max(int(short_height * width / height), crop_width), short_height)
        else:
            scaled = (short_width, max(int(short_width * height / width), crop_height))
        return scaled, (round((scaled[0] - crop_width) / 2), round((scaled[1] - crop_height) / 2))

    @staticmethod
    def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
        return torch.tensor(values, dtype=like.dtype, device=like.device).reshape(1, -1, 1, 1)


def in_unit_range(pixels: Tensor) -> Tensor:
    """Pixels as floats of which white is 1: bytes are scaled, floats are so already."""
    return pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels.float()


def stacked(views: Sequence[Tensor]) -> Tensor:
    """(C, H, W) pixels of some images -> (B, C, H, W): bytes, or floats in 0 to 1 where one has finer values."""
    if len({view.dtype for view in views}) > 1:
        views = [in_unit_range(view) for view in views]
    return torch.stack(list(views))


def in_bytes(pixels: Tensor) -> Tensor:
    """Pixels of one image of a batch as they are without the others: bytes, where finer values are those of bytes.

    So that what rounds bytes alone makes the same of an image, whatever it is `stacked` with.
    """
    if pixels.dtype == torch.uint8:
        return pixels
    scaled = 255 * pixels
    return scaled.byte() if torch.equal(scaled, scaled.round()) else pixels


def luminance(values: Tensor) -> Tensor:
    """(B, 3, H, W) RGB -> (B, 1, H, W), as ITU-R BT.601 and PIL's mode L weigh the colours."""
    weights = values.new_tensor([0.299, 0.587, 0.114])
    return (values * weights[:, None, None]).sum(1, keepdim=True)
