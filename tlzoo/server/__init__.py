"""A page in the browser and an HTTP API: crystals in, predictions out."""
