"""Neighbours, line graph and the memory-mapped store of graphs."""
