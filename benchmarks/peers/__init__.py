"""Other packages that do the same work, measured in an environment of their own (requirements.txt)."""
