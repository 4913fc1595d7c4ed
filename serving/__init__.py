"""Operating a TorchServe server from outside."""
