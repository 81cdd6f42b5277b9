"""Region perturbation and its AOPC (Samek et al., TNNLS 2017)."""
