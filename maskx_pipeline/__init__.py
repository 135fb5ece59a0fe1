"""maskx: instance segmentation when every category has boxes but only some have masks."""

__version__ = "0.1.0"
