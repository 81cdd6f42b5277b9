"""
A sanity check: forget what was learned
=======================================

A map that explains a network must change when the network forgets what it has learned (Adebayo et al., NeurIPS 2018). Some
methods draw convincing pictures that hardly change, because they show the photograph and not the network.
"""

# %%
# The picture: a network, and itself with random weights
# -------------------------------------------------------

import copy

import torch

import xkd_eval

photograph = xkd_eval.open_dataset("embedded").load(12).image
learned = xkd_eval.load_classifier("embedded/teacher")
learned.name = "learned"
forgot = copy.deepcopy(learned)
forgot.name = "forgot"
torch.manual_seed(0)
for layer in forgot.modules():
    if hasattr(layer, "reset_parameters"):
        layer.reset_parameters()

xkd_eval.overlay([learned, forgot], photograph, classes="five", explainer=["cam", "guided_backprop"])

# %%
# The class activation map changes altogether. Guided backpropagation outlines the same strokes, of a network that cannot read.
#
# The number: over photographs, layer after layer
# -----------------------------------------------
#
# The test redraws more and more layers, from the head down, and takes the rank correlation of each map with the first one.

study = xkd_eval.evaluate(learned, explainers=["cam", "guided_backprop"], tests="randomisation", limit=10)
study.scores.query("score in ['mprt_spearman', 'mprt_ssim']")[["maps", "score", "value", "low", "high"]].round(2)

# %%
# A high similarity is a failure. A low one is a pass and no more: noise passes best of all, so do not rank the methods that
# pass by how low they are.
