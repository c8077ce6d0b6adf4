"""Which concepts do what their labels say when turned, beside those that are only readable."""
