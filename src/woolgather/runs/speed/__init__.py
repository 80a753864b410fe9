"""How long work takes on this machine.

rates.py     the speeds of a run, from what is known best, and the time of a step
earlier.py   what steps of earlier runs took, kept in the cache
"""
