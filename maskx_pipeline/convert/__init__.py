"""Other formats in."""
