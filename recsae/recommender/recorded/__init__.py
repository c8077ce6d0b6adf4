"""What a model does with one history, as a list of operations that runs without the model."""
