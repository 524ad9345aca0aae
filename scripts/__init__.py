"""What a person starts: the `triplegain` command and the modules behind it."""
