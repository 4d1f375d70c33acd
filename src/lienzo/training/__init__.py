"""The one training loop: time budget, EMA, checkpoints, resume, samples. Recipes stand beside their networks."""
