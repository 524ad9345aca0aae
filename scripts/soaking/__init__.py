"""What the soak is made of: what goes wrong in it, and what has to agree when it is over."""
