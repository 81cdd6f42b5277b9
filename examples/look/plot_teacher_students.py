"""
A teacher beside its students
=============================

Two students have the same architecture and nearly the same accuracy. One was trained on labels alone, the other on its
teacher's class activation maps as well (Exp-KD). The overlay figure shows where each of the three looks.
"""

# %%
# Rows are photographs and columns are models. All explain the class that they predict, which stands above the map with its
# probability.

import xkd_eval

models = [xkd_eval.load_classifier(f"embedded/{name}") for name in ("teacher", "exp_kd", "plain")]
photographs = xkd_eval.open_dataset("embedded")
xkd_eval.overlay(models, [photographs.load(position).image for position in (12, 21, 33)])

# %%
# Compare the columns within a row: the map of ``exp_kd`` has its peak and its extent where the teacher's has them, the map of
# ``plain`` wanders further.
#
# Three photographs prove nothing. Whether a student looks where its teacher looks is measured over many, with an interval:
# see :ref:`sphx_glr_gallery_measure_plot_comparison.py`.
