"""Fixtures and hooks of the whole suite."""
