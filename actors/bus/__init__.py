"""What the world outside hears: committed events, fanned out by topic."""
