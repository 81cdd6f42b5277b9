"""What is trained, as data: the recipe's schema, and the files that hold recipes."""
