"""Where crystals and targets come from, and how they are split."""
