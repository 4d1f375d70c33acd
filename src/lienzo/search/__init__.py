"""The picture index: embed, store, query."""
