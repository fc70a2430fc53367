"""NVIDIA's models: Cosmos Predict 2 and 2.5, Cosmos 3, SANA-Video."""
