"""How often the shipped weights are right, offline and served."""
