"""Figures that can be compared: each says its protocol."""
