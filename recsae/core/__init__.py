"""What every package stands on; it knows no recommender and imports nothing of recsae.

Errors, column names, files that are whole or absent, processes and threads, compiled loops,
intervals over users, a cached client of a language model (``core.llm``). It has no face: import the
module, as in ``from recsae.core.errors import InvalidInput``.
"""
