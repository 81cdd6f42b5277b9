"""Segmentation test (Chefer et al., CVPR 2021, on ImageNet-Segmentation)."""
