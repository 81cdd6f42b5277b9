"""Which model explains itself better, is the difference real, and does it look where its teacher looks?"""
