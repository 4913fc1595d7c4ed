"""What may go wrong with a server, brought about."""
