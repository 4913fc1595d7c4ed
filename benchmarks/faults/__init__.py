"""What becomes of the promises when something goes wrong with a server or its clients."""
