"""Fidelity: does a model answer as the reference, its teacher, answers?"""
