"""A language model as labeler and as judge."""
