"""
A sanity check: forget what was learned
=======================================

A map that explains a network must change when the network forgets what it has learned (Adebayo et
al., NeurIPS 2018). Some methods draw convincing pictures that hardly change, because they show the
photograph and not the network.
"""

# %%
# Two networks
# ------------
#
# The same network twice; the second has drawn all its weights anew.

import copy

import torch

import xkd_eval

# sphinx_gallery_thumbnail_number = 2

learned = xkd_eval.load_classifier("embedded/teacher")
forgot = copy.deepcopy(learned)
torch.manual_seed(0)
for layer in forgot.modules():
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()
learned.name, forgot.name = "learned", "forgot"

dataset = xkd_eval.open_dataset("embedded")
photographs = [dataset.load(position).image for position in (12, 21)]
xkd_eval.overlay([learned, forgot], photographs, classes="three")

# %%
# The class activation map has changed altogether.

explainer = "guided_backprop"
xkd_eval.overlay([learned, forgot], photographs, classes="three", explainer=explainer)

# %%
# Guided backpropagation still outlines the strokes, under a pattern of noise, of a network that
# cannot read. Who sees only the right picture would take it for an explanation.
#
# The number: layer after layer
# -----------------------------
#
# The test redraws more and more layers, from the head down, and compares each map with the first
# one: by rank correlation (``mprt_spearman``) and by structural similarity (``mprt_ssim``),
# averaged over photographs.

explainers = ["cam", "guided_backprop"]
study = xkd_eval.evaluate(learned, explainers=explainers, tests="randomisation", limit=10)
scores = study.scores.query("score in ['mprt_spearman', 'mprt_ssim']")
scores[["maps", "score", "value", "low", "high"]].round(2)

# %%
# A high similarity is a failure. A low one is a pass and no more: noise passes best of all, so do
# not rank the methods that pass by how low they are.
