"""What a model is worth: trivial baselines, tables, plots, gains with their intervals."""
