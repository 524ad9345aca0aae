"""The third way to run the actors: one thread, one seed, a virtual clock. What happens next is drawn."""
