"""Lienzo: from a sentence to a picture, and the systems that taught machines to paint one."""

__version__ = "0.1.0"
