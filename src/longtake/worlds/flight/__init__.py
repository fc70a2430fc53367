"""Endless drone flights over a height field."""
