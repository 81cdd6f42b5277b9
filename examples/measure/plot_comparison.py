"""
Compare two students with their teacher
=======================================

Do students that were trained differently explain themselves differently? Every model sees the same
photographs, so that differences are paired: what makes a photograph hard for all of them cancels
out.
"""

# %%
# The first model is the reference. Here the students are one that was trained on labels alone, and
# one that was trained on its teacher's maps (Exp-KD).

import xkd_eval

# sphinx_gallery_thumbnail_number = 2

models = ["embedded/teacher", "embedded/plain", "embedded/exp_kd"]
tests = ["perturbation", "segmentation", "agreement"]
options = {"floors": False, "limit": 60, "fractions": [0.1, 0.3, 0.5, 0.7, 0.9]}
found = xkd_eval.compare(models, "embedded", tests=tests, **options)
found.plot("differences")

# %%
# Each panel is a score, each row a student less the teacher, with its interval. Only where the
# interval excludes zero is a difference claimed, and coloured. The intervals are widened for the
# number of pairs, so that all of them together hold the truth in 95 % of the cases.
#
# An open grey circle says "not told apart". It does not say "equal": sixty photographs are few, and
# the interval shows which differences they cannot exclude.
#
# Do the students look where the teacher looks? The agreement of their maps, photograph by
# photograph:

found.plot("agreement")

# %%
# In a notebook the comparison itself is a table, with a sentence that says what can be claimed.
# With ``output="report"`` it becomes an HTML file with all pictures and tables.

found
