"""The comparison as one HTML file that a reader can be sent, with its figures and tables beside it."""
