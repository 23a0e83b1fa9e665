"""The simulator's pure half: the town's habits, what goes wrong, and truth to words."""
