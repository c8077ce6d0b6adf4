"""What several commands share: the console, options, and whom a steering is for."""
