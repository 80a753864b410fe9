"""A run directory as one HTML file (`page`), several side by side (`compare`), and how values are
written for people (`text`). Knows records and views, no ops."""
