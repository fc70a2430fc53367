"""Measures of long films."""
