"""
Train a student on its teacher's maps
=====================================

Exp-KD adds one term to the usual loss: the student's class activation maps shall be the teacher's. This is a training of
seconds, on a few hundred photographs, so that you see all that one leaves behind.
"""

# %%
# A recipe is a name, a file or a dict; ``overrides`` change single keys, as ``--set`` does on the command line. The teacher
# comes with the package.

import tempfile

import distill

short = ["data.images=1000", "epochs=4", "teacher={model: embedded/teacher}"]
result = distill.train("quickstart/exp_kd", tempfile.mkdtemp(), overrides=short, overwrite=True)
result.plot()

# %%
# Left, the two losses before they are weighted: the cross-entropy with the labels, and the distance between the maps. Their
# heights cannot be compared with one another, only each with itself. Right, the accuracy on test photographs.
#
# The curve still rises when the training stops: this student is far from what the same recipe reaches in minutes, and says
# nothing about Exp-KD. The full training is ``xkd-distill train quickstart``.
#
# The student is a classifier like any other:

result.student()
