"""Turning latents and what lists do then. Imports ``run``."""
