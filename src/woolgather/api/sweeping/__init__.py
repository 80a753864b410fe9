"""A recipe at several values of its settings: what is asked, how points are run, what came of them."""
