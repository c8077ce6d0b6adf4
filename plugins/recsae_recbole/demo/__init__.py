"""The small model that ``recsae demo`` trains."""
