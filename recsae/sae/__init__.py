"""The sparse autoencoder: variants, training, codes, edits. Imports ``capture``."""
