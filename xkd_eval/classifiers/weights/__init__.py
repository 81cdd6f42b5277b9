"""Weights from outside: files of any origin, read without running code, into the network that they are of."""
