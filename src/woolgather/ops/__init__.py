"""Plain functions over rows. An op knows nothing of runs, recipes or which engine answers."""
