"""Making pictures larger or cleaner: SwinIR, its training recipe, and tiles without seams."""
