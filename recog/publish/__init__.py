"""Trained models given away: published as a folder, described, sent and fetched."""
