"""A language model as labeler and as judge, and scores of labels from their words alone.

Along the data flow: ``sampling`` which cases are shown, ``prompts`` and ``replies`` what goes out
and what comes back (through the client in ``recsae.core.llm``), ``explaining`` names latents,
``detection`` tests names and attribute labels by precision and recall, ``judging`` names by
fuzzing, both counted by ``answers``, ``recsae_protocol`` by the paper's levels, ``embedding`` needs
no language model.
"""
