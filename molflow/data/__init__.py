"""From raw molecules to batches: the data file, those who fill it, and the loader that reads it."""
