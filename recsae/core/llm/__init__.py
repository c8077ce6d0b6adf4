"""A client of a language model that remembers its answers."""
