"""Photographs of the book."""
