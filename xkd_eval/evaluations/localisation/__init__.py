"""Localisation: does a map find the object's box (Choe et al., CVPR 2020), and does it point at it (IJCV 2018)?"""
