"""LTX-Video and LTX-2."""
