"""ARCC: coherency, complexity and ROAD in one score (arXiv 2605.14641)."""
