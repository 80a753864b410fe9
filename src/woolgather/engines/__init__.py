"""How a model is asked. See base.py for the protocol."""
