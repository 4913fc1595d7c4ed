"""What it takes to answer very many requests, on paper."""
