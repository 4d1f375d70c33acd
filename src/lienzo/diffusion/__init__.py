"""Diffusion: schedules, objectives, denoisers, samplers and their networks."""
