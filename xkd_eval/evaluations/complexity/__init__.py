"""Complexity: how few places hold a map's relevance?"""
