"""The exchange behind one protocol: Kraken itself, or a mock that takes its place."""
