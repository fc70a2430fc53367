"""Autoencoders of our own, for models that are trained here."""
