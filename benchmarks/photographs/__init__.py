"""What training on photographs takes of a machine."""
