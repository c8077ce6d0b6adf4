"""What every other package stands on. Imports nothing of recsae."""
