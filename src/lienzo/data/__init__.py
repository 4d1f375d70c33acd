"""Data sets: shards, the built-in corpus of drawings and the readers of the packages it is made from."""
