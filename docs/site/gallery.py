"""Pictures for the gallery: a figure that is the last value of a block is shown, as a notebook shows it."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from sphinx_gallery.scrapers import figure_rst

from xkd_eval.figures.shown import ShownFigure

_WIDTH = 1600  # pixels
_DRAWN: WeakSet[ShownFigure] = WeakSet()


def last_figure(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """A scraper of sphinx-gallery, to stand beside "matplotlib", which finds the figures of pyplot alone.

    Args:
        block: of the example.
        block_vars: what it left; `___` is the value of the last block that ended in one.
        gallery_conf: of the build.

    Returns:
        reST with the picture; "" where the block ended in no figure of this project.
    """
    value = block_vars["example_globals"].get("___")
    if not isinstance(value, ShownFigure) or value in _DRAWN:
        return ""
    _DRAWN.add(value)
    path = str(next(block_vars["image_path_iterator"]))
    value.savefig(path, dpi=_WIDTH / value.get_size_inches()[0])
    return figure_rst([path], gallery_conf["src_dir"])
