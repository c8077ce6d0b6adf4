"""A language model as labeler and as judge, and scores of labels from their words alone.

Along the data flow: ``settings`` what is asked of whom, ``client`` asks and remembers every answer,
``prompts`` and ``replies`` what goes out and what comes back, ``sampling`` which cases are shown,
``explaining`` names latents, ``judging`` tests names (and attribute labels) by detection, fuzzing
and the paper's levels, ``embedding`` needs no language model, ``stage`` puts all together.
"""
