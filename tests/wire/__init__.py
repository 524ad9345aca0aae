"""Kraken on the wire: our client, the SDK and ccxt against the wire mock, over loopback."""
