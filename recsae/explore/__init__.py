"""Questions to finished runs. Imports ``steering`` and ``evaluation``."""
