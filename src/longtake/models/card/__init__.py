"""How a model is put on a card."""
