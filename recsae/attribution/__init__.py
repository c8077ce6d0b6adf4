"""Why one item has its score after one history. Imports ``sae``."""
