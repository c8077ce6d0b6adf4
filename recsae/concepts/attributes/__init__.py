"""What can be said of items and histories.

``table`` which items have which values, ``values`` where values come from, ``communities`` items of
the same people, ``history`` length and repetition, ``probes`` and ``learnable`` what states can
tell, ``tasks`` values to tell apart.
"""
