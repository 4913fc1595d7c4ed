"""How many requests a second, and how soon, beside other handlers and other servers."""
