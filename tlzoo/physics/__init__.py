"""Harmonic and elastic properties of crystals from a potential, to be learned from."""
