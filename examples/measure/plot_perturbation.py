"""
The perturbation test
=====================

If a map marks what a classifier uses, then the classifier fails early when the marked pixels are
removed first, and late when they are removed last. The perturbation test (Chefer et al., CVPR 2021)
draws both curves.
"""

# %%
# One call removes 10, 20, ... 90 % of the pixels in both orders, and asks the classifier again each
# time. Forty photographs keep this example short.

import xkd_eval

result = xkd_eval.perturbation_test("embedded/teacher", "embedded", limit=40)
result.plot()

# %%
# Left, the most relevant pixels go first: a good map makes the curve fall at once. Right, the least
# relevant go first: a good map keeps the curve up. The band is a 95 % interval over photographs;
# the dotted line is the accuracy of a guess.
#
# ``result`` holds the numbers too. The *area between the curves* is the negative area less the
# positive one:

names = ["clean_accuracy", "positive.auc", "negative.auc", "between.auc"]
result.scores.set_index("score").loc[names, ["value", "low", "high"]].round(3)

# %%
# Do not read the positive curve alone. A classifier that always answers wrongly has nothing to
# lose, and its curve lies at the bottom whatever the map says.
