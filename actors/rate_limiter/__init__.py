"""When a call may leave for the exchange, and who goes first."""
