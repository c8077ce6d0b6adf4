"""A steered model without recsae."""
