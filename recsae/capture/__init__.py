"""Hidden states of many positions: windows, the store, the cases. Imports ``recommender``."""
