"""What notebooks show of objects: small pieces of static HTML."""
