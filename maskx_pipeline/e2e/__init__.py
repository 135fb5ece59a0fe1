"""Joint training of the detector, T and the mask head (section 3.2, end-to-end)."""
