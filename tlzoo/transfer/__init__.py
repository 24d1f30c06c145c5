"""From a trained model to one for few crystals: which to start from, fine-tuning, frozen features."""
