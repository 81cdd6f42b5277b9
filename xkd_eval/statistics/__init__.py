"""How sure a score is, and whether a difference of two is real."""
