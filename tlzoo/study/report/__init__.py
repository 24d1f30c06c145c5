"""A study's results as one page to look at: `tlzoo study report FILE`."""
