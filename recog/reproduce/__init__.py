"""Reproducing a row of the results: data checked, packed, and the record of what came of it."""
