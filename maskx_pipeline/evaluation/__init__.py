"""Predictions, AP per category set, overlays."""
