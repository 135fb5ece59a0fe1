"""One file per command, with its name: typed config in, path or result out. The commands call nothing else."""
