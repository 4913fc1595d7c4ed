"""Other servers with the same model: a file for each, and its entry in ``peer.ALL``."""
