"""
A teacher beside its students
=============================

Two students have the same architecture. One was trained on labels alone, the other on its teacher's
class activation maps as well (Exp-KD). The overlay figure shows where each of the three looks.
"""

# %%
# Rows are photographs and columns are models. All explain the class that they predict, which stands
# above the map with its probability.

import xkd_eval

names = ["embedded/teacher", "embedded/exp_kd", "embedded/plain"]
models = [xkd_eval.load_classifier(name) for name in names]
dataset = xkd_eval.open_dataset("embedded")
photographs = [dataset.load(position).image for position in (12, 21, 33)]
xkd_eval.overlay(models, photographs)

# %%
# Compare the columns within a row. The map of ``exp_kd`` is about as narrow as the teacher's; that
# of ``plain`` is a broader patch, whose highest point lies elsewhere. Look at the colour bars too:
# the teacher's maps are two to three times higher, and each map is coloured by its own range.
#
# Three photographs prove nothing. Whether a student looks where its teacher looks is measured over
# many, with an interval: see :ref:`sphx_glr_gallery_measure_plot_comparison.py`.
