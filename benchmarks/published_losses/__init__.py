"""Every loss of `distill.methods` beside its authors' own code: same float64 inputs, value and gradient.

The published code is read where it lies, a file at a time, and nothing of it is copied. A case is one small function in
the file of its family (logits, cams, maps, trained, relations, optimisers), decorated by `case`; see cases.py.
"""
