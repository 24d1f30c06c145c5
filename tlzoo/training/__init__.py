"""From a configuration to a trained model in a run directory, and on with it."""
