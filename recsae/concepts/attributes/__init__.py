"""What can be said of items and histories."""
