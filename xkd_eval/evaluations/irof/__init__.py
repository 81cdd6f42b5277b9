"""IROF: iterative removal of features (Rieger and Hansen, 2020)."""
