"""Stage 2: class embeddings, the weight transfer function, mask heads, fit."""
