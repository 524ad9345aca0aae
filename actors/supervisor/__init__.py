"""The life of the engine: start, failure, drain, stop."""
