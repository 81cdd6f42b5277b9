"""Images and labels on the training device, as a recipe describes them."""

IMAGES = "images.csv"
"""Which images are of which part, where the training has divided a set of files itself."""
