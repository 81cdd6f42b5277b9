"""
A test of your own
==================

How much of the photograph does a map need for half of what it has to say? Few places mean a pointed
map. No test of the package asks that, so this one is written here, in twenty lines.
"""

# %%
# Rows, and scores of their means
# -------------------------------
#
# ``rows`` returns a number for each photograph. A score is a function of the numbers' means, so
# that intervals and paired differences come by themselves. The decorator makes the name known to
# ``evaluate`` and ``compare``.

import matplotlib.pyplot as plt
import numpy as np

import xkd_eval


@xkd_eval.register_test
class HalfArea(xkd_eval.Evaluation):
    """The share of the places, the highest first, that hold half of a map."""

    name, title, citation = "half_area", "Half area", "mine"

    def rows(self, batch):
        mass = batch.maps.clamp(min=0).flatten(1).sort(1, descending=True).values
        shares = mass.cumsum(1) / mass.sum(1, keepdim=True).clamp(min=1e-9)
        return {"half_area": (shares < 0.5).double().mean(1).cpu().numpy()}

    def specs(self):
        return (xkd_eval.ScoreSpec(self.name, "half area", lambda mean: mean[self.name]),)


# %%
# Used like those that are built in
# ---------------------------------

models = ["embedded/teacher", "embedded/exp_kd", "embedded/plain"]
study = xkd_eval.evaluate(models, tests="half_area", limit=100)
study.scores[["model", "value", "low", "high"]].round(3)

# %%
# One number a photograph can be drawn as well:

figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
for place, result in enumerate(study.results):
    values = 100 * result.columns["half_area"]
    scatter = np.random.default_rng(0).uniform(-0.25, 0.25, len(values))
    axes.plot(values, place + scatter, ".", alpha=0.6)
    axes.plot([values.mean()] * 2, [place - 0.35, place + 0.35], color="black")
axes.set(yticks=range(len(study.models)), yticklabels=study.models, ylim=(2.5, -0.5))
axes.set(xlabel="Share of the places that hold half of the map's mass (%)", xlim=(0, None))
plt.show()

# %%
# Each dot is a photograph, each bar a mean. A smaller area is a more pointed map, and not a better
# one: a map that marks one wrong pixel is the most pointed of all. That is why the score was given
# no direction.
#
# ``xkd_eval.testing.check_test`` runs the package's contract tests on a test of yours.
