"""What is said when the configuration cannot be used."""


class ConfigurationError(Exception):
    """The configuration cannot be used. The text is one line that names file, key and value."""
