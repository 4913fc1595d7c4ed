"""Transfer learning on a small data set, compared with a typical script."""
