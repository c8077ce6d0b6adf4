"""The core: statements of the vocabulary that the states hold, each with a gate that tells it.

Candidates (``statements``), their gates (``fit``), which of them make the core (``choose``), and
all of it in order (``core``).
"""
