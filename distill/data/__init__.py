"""Images and labels on the training device, as a recipe describes them."""
