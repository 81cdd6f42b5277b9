"""What a result draws, for a screen or a paper."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xkd_eval.arguments import public
from xkd_eval.figures.paper import made_for, write_printed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawn(ABC):
    """A result that has figures."""

    @abstractmethod
    def _drawn(self) -> dict[str, Figure]:
        """Name -> figure."""

    @public()
    def figures(self, paper: str | None = None) -> dict[str, Figure]:
        """All that there is to draw, by name.

        Args:
            paper: a size: "single" (3.25 inches wide), "double" (6.875), or sides such as "84mm" and "84x60mm";
                None is for a screen.

        Returns:
            Name -> figure. Its `savefig` embeds the fonts, and is of 300 dots an inch where it is for a paper.

        Raises:
            XkdError: another size, or one that a figure does not fit.
        """
        return made_for(paper, self._drawn)

    @public()
    def save_figures(self, folder: Path, paper: str | Sequence[str] = "single") -> list[Path]:
        """Write `figures` as a paper prints them, as FOLDER/NAME-SIZE.FORMAT.

        Args:
            folder: made where it is missing.
            paper: a size with formats behind a dot, such as "double.pdf,svg", or several; PDF without a format.

        Returns:
            The files.

        Raises:
            XkdError: another size or format, one that a figure does not fit, or a folder that cannot be written.
        """
        return write_printed(self._drawn, folder, paper)
