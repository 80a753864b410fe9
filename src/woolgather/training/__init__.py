"""How a model is changed: a TrainJob (data) is carried out by a launched worker process."""
