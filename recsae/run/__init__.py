"""The folder of a run and everything made in it so far. Imports ``sae`` and ``concepts``."""
