"""Fill the missing masks of an annotation file."""
