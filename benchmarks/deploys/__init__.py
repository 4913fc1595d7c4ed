"""What a deploy costs the requests meanwhile."""
