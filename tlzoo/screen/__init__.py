"""Predict and rank a pool of crystals: in bounded memory, in shards, with what is unsafe about an answer."""
