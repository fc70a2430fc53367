"""Renderers of captioned film on which the embedded model is trained."""
