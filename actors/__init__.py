"""One folder per actor: `actor.py` is the shell, the modules beside it are pure. `system.py` starts them all."""
