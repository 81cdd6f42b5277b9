"""Infidelity (Yeh et al., NeurIPS 2019): does the map foretell what noise does to the answer?"""
