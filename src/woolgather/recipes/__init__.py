"""One method, one file, one page."""
