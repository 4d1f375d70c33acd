"""Samplers: one function each, `sample_x(model, x, sigmas, *, options) -> Iterator[Step]`; see `sampling`."""
