"""Every number of the engine, with its unit: two YAML files, read once at start into frozen settings."""
