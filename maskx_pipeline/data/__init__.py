"""COCO-format data where a mask may be absent."""
