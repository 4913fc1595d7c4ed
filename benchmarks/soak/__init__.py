"""Whether anything is lost while all goes wrong at once, for long."""
