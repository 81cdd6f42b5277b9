"""Insertion and deletion (RISE, Petsiuk et al., BMVC 2018)."""
