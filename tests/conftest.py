"""What every test shares: one thread per process, and the same examples on every run."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported; reaches subprocesses too

from hypothesis import settings

settings.register_profile("recsae", deadline=None, derandomize=True)
settings.load_profile("recsae")
