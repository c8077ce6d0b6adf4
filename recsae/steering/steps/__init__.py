"""The steps of a steering: edits of states, filters and re-rankings, and the lists under them."""
