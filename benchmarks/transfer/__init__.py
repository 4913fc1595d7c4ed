"""Transfer to a small set of images, beside a script of the usual kind."""
