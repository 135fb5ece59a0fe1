"""Masks from boxes by others, behind one protocol."""
