"""How often the included weights are right, offline and served."""
