"""Kraken's own HTTP and websocket face in front of the mock's books: no actor, a server for whoever talks Kraken."""
