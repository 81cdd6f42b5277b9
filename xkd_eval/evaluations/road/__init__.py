"""ROAD: remove and debias (Rong et al., ICML 2022)."""
