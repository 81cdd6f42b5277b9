"""What a trained student is worth, and how it is written in other formats."""
