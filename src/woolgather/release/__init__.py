"""A run as repositories of the hub: its models and rows with the cards that tell how they came about.

The one idea: a release is a folder first. Everything that goes out lies there, is searched for what must
not, and can be read before it is sent; sending it again sends nothing that is there already.
"""
