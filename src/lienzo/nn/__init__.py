"""Blocks that two families or more share, in plain torch: embeddings, norms, attention, residual blocks."""
