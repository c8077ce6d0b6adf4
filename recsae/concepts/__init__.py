"""What latents mean: predicates, wording, the dictionary. Imports ``capture``."""
