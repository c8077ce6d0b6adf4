"""What steering costs and gives groups of users."""
