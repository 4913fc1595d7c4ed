"""What is trained and served: the spec, the network, its export, its archive."""
