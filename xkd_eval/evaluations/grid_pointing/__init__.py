"""The grid pointing game: whether each class's map points at its own photograph among several."""
