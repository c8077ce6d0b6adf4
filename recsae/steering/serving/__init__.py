"""A steered model that needs nothing of recsae: weights, a loader, a recipe."""
