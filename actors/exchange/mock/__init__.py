"""An exchange of our own: a matching engine with balances, margin, fees and switchable faults."""
