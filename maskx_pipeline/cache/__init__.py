"""The HDF5 file between the stages."""
