"""How long preprocessing takes, beside other libraries, and how near that is to the least."""
