"""
Insertion and deletion
======================

Insertion starts from a blurred photograph and puts the pixels back, most relevant first; deletion
takes them away (Petsiuk et al., BMVC 2018). Unlike the perturbation test it follows the probability
of the explained class, and not the accuracy.
"""

# %%
# Two explainers and a floor, on the same thirty photographs:

import xkd_eval

explainers = ["cam", "saliency", "random"]
options = {"tests": "insertion_deletion", "limit": 30}
study = xkd_eval.evaluate("embedded/teacher", explainers=explainers, **options)
study.plot()

# %%
# Both explainers are far from random. Left, a good map brings the probability up with few pixels;
# right, it takes it away with few.
#
# Now look at the bands of the two explainers: they overlap nearly everywhere. This figure tells
# both apart from chance, and not from each other. For that, more photographs and a paired test are
# needed, as in :ref:`sphx_glr_gallery_measure_plot_comparison.py`.
