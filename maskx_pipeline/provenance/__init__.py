"""Made from what, finished, resumed: run folders, locks, files that are whole or not there."""
