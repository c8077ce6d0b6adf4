"""Latents and strengths found from a goal."""
