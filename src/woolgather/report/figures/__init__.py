"""Drawings of the pages as files of their own."""
