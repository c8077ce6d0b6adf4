"""One file for each stage of a run: what it works out from the run, and leaves in its folder."""
