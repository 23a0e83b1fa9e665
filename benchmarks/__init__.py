"""One runnable file for each figure that we claim."""
