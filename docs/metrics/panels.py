"""One photograph, its network and its map; and the panels that a picture is a row of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image
from torch import Tensor

from benchmarks.lite import lite0
from xkd_eval import Classifier, create_explainer
from xkd_eval.engines.network import Network
from xkd_eval.evaluations.forms import in_form
from xkd_eval.evaluations.ranks import removal_order, upsample
from xkd_eval.evaluations.removal import answer_values, fill_image
from xkd_eval.figures.canvas import Canvas
from xkd_eval.figures.heatmap import heatmap
from xkd_eval.figures.style import PALETTE, SMALL, house_style

SIDE = 1.5
"""Inches of a picture."""


@dataclass(frozen=True)
class Panel:
    """A picture with a line above and below it."""

    title: str
    pixels: np.ndarray
    caption: str = ""

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Within SIDE x SIDE inches."""
        canvas.picture(self.pixels, left, top, SIDE, SIDE)


@dataclass(frozen=True)
class Bars:
    """Shares by name, as a panel."""

    title: str
    shares: Mapping[str, float]
    caption: str = ""

    def draw(self, canvas: Canvas, left: float, top: float) -> None:
        """Within SIDE x SIDE inches."""
        axes = canvas.axes(left, top, SIDE, SIDE)
        axes.barh(range(len(self.shares)), list(self.shares.values()), height=0.8, color=PALETTE[5])
        for place, (name, share) in enumerate(self.shares.items()):
            axes.text(0.02, place, f"{name} {100 * share:.0f} %", va="center", fontsize=SMALL)
        axes.set(xlim=(0, 1), ylim=(len(self.shares) - 0.5, -0.5), xticks=[], yticks=[])


class Subject:
    """One photograph, its network and the map of the predicted class."""

    def __init__(self, name: str = "chelsea", make: Callable[[], Classifier] = lite0) -> None:
        self.classifier = make()
        self.network = Network(self.classifier, self.classifier.preprocess, torch.device("cpu"))
        self.preprocess = self.classifier.preprocess
        self.pixels = self.preprocess.pixels(Image.fromarray(getattr(skimage.data, name)()))[None]
        self.images = self.preprocess.normalise(self.pixels)
        self.logits, self.features = self.network.clean(self.images, [name])
        self.classes, self.size = self.logits.argmax(1), self.preprocess.size
        self.raw = self.explained(self.images)
        self.map = in_form(self.raw, "minmax", self.size)[0]
        order = removal_order(self.size, 0, torch.device("cpu"))
        large = upsample(self.raw, self.size)
        self.ranks, self.least_first = order.descending(large)[0], order.ascending(large)

    def explained(self, images: Tensor) -> Tensor:
        """(n, h, w) CAMs of the photograph's class."""
        return self.network.explain(create_explainer("cam"), images, self.classes.expand(len(images)), ["photo"])

    def seen(self, images: Tensor) -> np.ndarray:
        """(3, H, W) normalised -> (H, W, 3) uint8."""
        values = self.preprocess.denormalise(images[None])[0].permute(1, 2, 0)
        return (255 * values).round().clamp(0, 255).byte().numpy()

    def probability(self, image: Tensor) -> str:
        """What the network answers to (3, H, W), as a caption."""
        found = answer_values(self.network.classify(image[None]), self.classes).item()
        return f"p = {found:.2f}"

    def asked(self, title: str, image: Tensor) -> Panel:
        """An image with the network's answer."""
        return Panel(title, self.seen(image), self.probability(image))

    def mapped(self, title: str, values: Tensor, caption: str = "") -> Panel:
        """A map (h, w) over the photograph."""
        photo = self.pixels[0].permute(1, 2, 0).numpy()
        return Panel(title, heatmap(photo, values.numpy(), alpha=0.6).overlay, caption)

    def without(self, share: float, fill: str, ranks: Tensor) -> Tensor:
        """The photograph with a share of its first-ranked pixels replaced."""
        hidden = ranks < int(share * ranks[0].numel())
        return torch.where(hidden[:, None], fill_image(self.pixels, self.preprocess, fill), self.images)[0]

    def inserted(self, share: float) -> Tensor:
        """A blurred image into which a share of the photograph's first-ranked pixels is put."""
        hidden = self.ranks < int(share * self.ranks[0].numel())
        return torch.where(hidden[:, None], self.images, fill_image(self.pixels, self.preprocess, "rise_blur"))[0]


@house_style()
def strip(panels: Sequence[Panel | Bars], path: Path) -> None:
    """Pictures in a row, as a JPEG."""
    gap, top, bottom = 0.08, 0.2, 0.2
    canvas = Canvas(len(panels) * (SIDE + gap) + gap, top + SIDE + bottom)
    for place, panel in enumerate(panels):
        left = gap + place * (SIDE + gap)
        canvas.text([panel.title], left + SIDE / 2, top - 0.04, size=SMALL)
        panel.draw(canvas, left, top)
        canvas.text([panel.caption], left + SIDE / 2, top + SIDE + 0.16, size=SMALL)
    canvas.figure.set_dpi(130)
    canvas.figure.canvas.draw()
    drawn = np.asarray(canvas.figure.canvas.buffer_rgba())[..., :3]
    Image.fromarray(drawn).save(path, quality=85, optimize=True)
