"""The machine that all runs on: files, threads and memory, several processes, Ray."""
