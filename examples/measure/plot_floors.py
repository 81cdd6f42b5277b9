"""
Why floors matter
=================

Is an area of 74 % between the curves good? Nobody can tell without knowing what a map scores that
knows nothing of the classifier. Such maps are called floors: random values, a bump in the centre,
the edges of the photograph.
"""

# %%
# Floors are explainers like any other, so that they enter the same study, on the same photographs.

import xkd_eval

explainers = ["cam", "centre", "edges", "random"]
options = {"tests": "perturbation", "limit": 40}
study = xkd_eval.evaluate("embedded/teacher", explainers=explainers, **options)
study.plot()

# %%
# On the right the centre map stays far above the random one, although it has never seen the
# network. The test rewards it because removed pixels form one patch at the border, which disturbs
# the network less than holes everywhere.
#
# A score is worth what it has above the best floor, and not above zero:

scores = study.scores.query("score == 'between.auc'").set_index("maps")
scores[["value", "low", "high"]].round(3)

# %%
# ``floors=True`` of ``perturbation_test``, ``segmentation_test`` and ``compare`` adds them by
# itself, and ``compare`` flags every score that a floor beats.
