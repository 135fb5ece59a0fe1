"""The model for other programs: T is computed once, and its weights put where other programs look for them."""
