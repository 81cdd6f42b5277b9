"""ADCC: average drop, coherency and complexity in one score (Poppi et al., CVPRW 2021)."""
