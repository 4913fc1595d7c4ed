"""Whether memory grows."""
