"""What hostile neighbours try on the whole program: see `__main__`."""
