"""Relative input stability (Agarwal et al., 2022), which is not recommended."""
