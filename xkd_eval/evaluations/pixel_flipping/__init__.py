"""Pixel flipping (Bach et al., PLOS ONE 2015)."""
