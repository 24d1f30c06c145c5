"""Measurements: speed and accuracy."""
