"""The learning curve of a training as a figure."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from xkd_eval.figures.shown import ShownFigure
from xkd_eval.figures.style import LINE_STYLES, PALETTE, house_style

_NO_LOSS = ("epoch", "learning_rate", "seconds", "total")


@house_style()
def learning_curve(metrics: pd.DataFrame) -> Figure:
    """Losses, and accuracies in percent, over epochs.

    Args:
        metrics: a line an epoch, as `TrainingResult.metrics` has them.

    Returns:
        Two panels: every loss by name, unweighted; top-1 on the test images or on those that select the epoch.
    """
    scores = [name for name in metrics if name.startswith(("test_", "val_"))]
    losses = [name for name in metrics if name not in (*_NO_LOSS, *scores) and "/" not in name]
    figure = ShownFigure(figsize=(6.4, 2.6), layout="constrained")
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.08})
    for number, name in enumerate(losses):
        style = {"color": PALETTE[number % len(PALETTE)], "linestyle": LINE_STYLES[number % len(LINE_STYLES)]}
        left.plot(metrics["epoch"], metrics[name], marker=".", label=name, **style)
    left.set(xlabel="epoch", ylabel="loss, unweighted", yscale="log")
    left.legend(frameon=False)
    for number, name in enumerate(name for name in scores if name.endswith("_top1")):
        label = "test images" if name.startswith("test_") else "images that select the epoch"
        right.plot(metrics["epoch"], 100 * metrics[name], marker=".", color=PALETTE[number], label=label)
    right.set(xlabel="epoch", ylabel="top-1, %")
    right.legend(frameon=False)
    return figure
