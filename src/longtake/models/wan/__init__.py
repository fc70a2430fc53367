"""Wan and SkyReels-V2."""
