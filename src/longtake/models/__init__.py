"""Models that can film: one adapter a file, all behind the protocol of base.py."""
