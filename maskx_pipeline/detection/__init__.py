"""Stage 1: Faster R-CNN on the boxes of all categories."""
