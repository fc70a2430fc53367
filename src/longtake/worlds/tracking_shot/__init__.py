"""Endless tracking shots, whose camera follows a vehicle: the world of the embedded model."""
