"""Layers without opinions: bases, gated convolutions, pooling, scaler."""
