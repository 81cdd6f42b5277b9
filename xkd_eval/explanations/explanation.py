"""Explanation: the maps of some photographs, with what is needed to read and to draw them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xkd_eval.arguments import public
from xkd_eval.bands import Picture, displayed
from xkd_eval.escapes import visible
from xkd_eval.notebook import table
from xkd_eval.wording import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xkd_eval.figures.heatmap import Region
    from xkd_eval.figures.overlay import OverlayPanel

_SHOWN = 4


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """Raw saliency maps of n images, one class of each, as `explain` returns them.

    A notebook shows it as a table with the first overlays.

    Attributes:
        maps: (n, h, w) float32 as the explainer returns them, at the size the method works at.
        classes: (n,) int64, the explained class.
        probabilities: (n,) float32, of that class, 0 to 1.
        predicted: (n,) int64.
        photos: n RGB images at their own size, or Bands.
        names: of the photos' files; empty for a photo that was no file.
        regions: (left, top, right, bottom) in pixels of each photo, the part that its map covers; None is all of it.
        class_names: K names, or None where the model's classes have none.
        model, explainer: names.

    Example:
        >>> from PIL import Image
        >>> from xkd_eval import explain
        >>> explain("embedded/kd", Image.new("RGB", (64, 64), "navy"), "three")
        Explanation of 1 image: cam of embedded/kd, maps (1, 10, 10)
          image 0: three, 5.9 % (predicted: one)
    """

    maps: np.ndarray
    classes: np.ndarray
    probabilities: np.ndarray
    predicted: np.ndarray
    photos: tuple[Picture, ...]
    names: tuple[str, ...]
    regions: tuple[Region | None, ...]
    class_names: tuple[str, ...] | None
    model: str
    explainer: str

    def __len__(self) -> int:
        return len(self.maps)

    def __repr__(self) -> str:
        lines = [f"  {self._name(place)}: {self._class(place)}" for place in range(min(len(self), _SHOWN))]
        rest = [f"  and {len(self) - _SHOWN} more"] if len(self) > _SHOWN else []
        return "\n".join(map(visible, [self._title(), *lines, *rest]))

    @public()
    def plot(self, *, colormap: str | None = None, alpha: float | None = None, paper: str | None = None) -> Figure:
        """Photo, map and overlay side by side, a row an image.

        Args:
            colormap: matplotlib's name; None is the house style's.
            alpha: the map's share in the overlay, 0 to 1; None is the house style's.
            paper: a size that it is laid out for: "single", "double", "84mm", "84x60mm"; None is a screen.

        Raises:
            XkdError: an unknown colour map, alpha outside of 0 to 1, or too small a paper.
        """
        from xkd_eval.figures.paper import made_for

        return made_for(paper, lambda: {"overlay": self._figure(len(self), colormap, alpha)})["overlay"]

    def panels(self) -> list[OverlayPanel]:
        """The n images as `overlay_figure` takes them, one panel each."""
        from xkd_eval.figures.overlay import OverlayPanel

        return [
            OverlayPanel(
                image=displayed(photo),
                map=self.maps[place],
                title=self._class_name(self.classes[place]),
                probability=float(self.probabilities[place]),
                model=self.model,
                region=self.regions[place],
            )
            for place, photo in enumerate(self.photos)
        ]

    def _repr_html_(self) -> str:
        picture = io.BytesIO()
        self._figure(min(len(self), _SHOWN)).savefig(picture, format="png", dpi=100)
        source = f"data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}"
        rows = [(self._name(place), self._class(place)) for place in range(min(len(self), _SHOWN))]
        if len(self) > _SHOWN:
            rows.append(("", f"and {len(self) - _SHOWN} more"))
        return f'{table(self._title(), rows)}<img src="{source}" alt="photo, map and overlay" style="max-width: 100%">'

    def _figure(self, count: int, colormap: str | None = None, alpha: float | None = None) -> Figure:
        from xkd_eval.figures.overlay import overlay_figure

        style = {name: value for name, value in (("colormap", colormap), ("alpha", alpha)) if value is not None}
        rows = [[panel] for panel in self.panels()[:count]]
        return overlay_figure(rows, row_titles=self.names[:count], **style)  # type: ignore[arg-type]

    def _title(self) -> str:
        return f"Explanation of {counted(len(self), 'image')}: {self.explainer} of {self.model}, maps {self.maps.shape}"

    def _name(self, place: int) -> str:
        return self.names[place] or f"image {place}"

    def _class(self, place: int) -> str:
        line = f"{self._class_name(self.classes[place])}, {100 * self.probabilities[place]:.1f} %"
        if self.predicted[place] != self.classes[place]:
            line += f" (predicted: {self._class_name(self.predicted[place])})"
        return line

    def _class_name(self, index: int) -> str:
        return self.class_names[index] if self.class_names else str(index)
