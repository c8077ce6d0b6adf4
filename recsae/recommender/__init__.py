"""What recsae asks of a trained model, and how its lists become metrics. Imports ``core``."""
