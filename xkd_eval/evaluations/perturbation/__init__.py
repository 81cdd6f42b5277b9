"""Positive and negative perturbation test (Chefer et al., CVPR 2021)."""
