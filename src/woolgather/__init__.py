"""woolgather: align a language model with data the model writes itself.

Importing this package loads nothing heavy; the rooms are listed in CONTRIBUTING.md.
"""

__version__ = "0.1.0"
