"""One training: networks and losses set up from a recipe, and the loop that trains the student."""
