"""Performance information curves: SIC and AIC (Kapishnikov et al., ICCV 2019)."""
