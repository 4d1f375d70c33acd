"""Steering: prompts, cutouts and losses that pull a sampler (`steer`) or any canvas (`paint`) towards a sentence."""
