"""What fast decoding costs in accuracy."""
