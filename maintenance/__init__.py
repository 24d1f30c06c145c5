"""What makes the tables that the package and the documentation carry: ``python -m maintenance.NAME``."""
