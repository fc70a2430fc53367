"""Training: the progressive loss, and the recipe of the embedded model."""
