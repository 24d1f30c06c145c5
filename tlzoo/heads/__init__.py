"""From an embedding to a prediction, a loss and metrics in physical units."""
