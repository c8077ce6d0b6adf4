"""Are labels true, is a dictionary any good? Imports ``sae`` and ``concepts``."""
