"""The stages of a run in their order, and the content of the report."""
