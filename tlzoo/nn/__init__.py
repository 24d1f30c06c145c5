"""Layers without opinions: bases, convolutions, pooling, target scaler, element features."""
