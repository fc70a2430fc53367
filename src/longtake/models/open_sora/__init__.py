"""Open-Sora v1.2, the open model of the paper, as diffusers classes of our own."""
