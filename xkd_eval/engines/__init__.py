"""How the forwards of a classifier are run."""
