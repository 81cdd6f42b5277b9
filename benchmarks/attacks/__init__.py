"""What benchmarks/fuzz.py attacks with, what it attacks, and how it judges what comes of it."""
