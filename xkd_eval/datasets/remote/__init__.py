"""Data behind URLs, fetched once into a cache; nothing of it is imported before a URL is given."""
