"""A training loop that knows nothing of masks."""
