"""
The segmentation score
======================

Where photographs come with a mask of the object, a map can be held against it: everything above the
map's mean counts as object. This is the segmentation test (Guillaumin et al., IJCV 2014; Chefer et
al., CVPR 2021).
"""

# %%
# What the test compares
# ----------------------
#
# The embedded data set knows the pixels of its object. The map is brought to the photograph's size
# and cut at its mean.

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import xkd_eval

sample = xkd_eval.open_dataset("embedded").load(12)
found = xkd_eval.explain("embedded/teacher", sample.image)
small = Image.fromarray(found.maps[0])
full_size = np.asarray(small.resize(sample.image.size, Image.Resampling.BILINEAR))

panels = {
    "photograph": sample.image,
    "map": full_size,
    "above its mean": full_size > full_size.mean(),
    "mask of the object": sample.mask,
}
figure, axes = plt.subplots(1, 4, figsize=(8, 2.3), layout="constrained")
for panel, (title, pixels) in zip(axes, panels.items(), strict=True):
    panel.imshow(pixels, cmap="viridis")
    panel.set(title=title, xticks=[], yticks=[])
plt.show()

# %%
# Over many photographs
# ---------------------

result = xkd_eval.segmentation_test("embedded/teacher", "embedded", limit=60)
names = ["pixel_accuracy", "miou", "foreground_ap", "pointing_game"]
result.scores.set_index("score").loc[names, ["value", "low", "high"]].round(3)

# %%
# The highest point of the map lies on the object in most photographs (``pointing_game``), and yet
# the region above the mean is several times larger than a digit, so that ``miou`` is moderate: a
# mean is a crude threshold for a small object.
#
# A low score does not show that the classifier looks at the wrong thing. It may need no more than a
# part of the object, or its surroundings; the mask says where the object is, and not what is used.
