"""The comparison as one HTML file that a reader can be sent, with its figures and tables beside it."""

IN_PAGE = 60
"""Photographs that one page has room for, on paper as well."""
