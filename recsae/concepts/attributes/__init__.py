"""Attributes of items and histories.

``table`` which items have which values, ``values`` where values come from, ``communities`` items of
the same people, ``people`` what is known of these, ``history`` length and repetition, ``probes``
and ``learnable`` what linear probes read from states, ``tasks`` values to predict.
"""
