"""The only place that opens weight files: safe reading, detection by keys, self-describing models, the store."""
