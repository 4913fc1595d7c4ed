"""What each setting of the server is good for."""
