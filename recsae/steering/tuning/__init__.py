"""From a goal to the method that reaches most, and how far it goes."""
