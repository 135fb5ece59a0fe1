"""Masks from boxes by others."""
