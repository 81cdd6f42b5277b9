"""A study: models x maps x tests, in one stream over the photographs."""
