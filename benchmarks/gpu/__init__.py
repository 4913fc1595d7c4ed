"""What a machine with a GPU computes, and how fast, in as many seconds as there are."""
