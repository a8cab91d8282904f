"""Validate the lines of Bronze: bytes in, rows of Silver and rejected lines out.

No engine is needed, so every engine gets the same from the same bytes.
"""
