"""One file per measurement; driver/registry.py says what it consists of."""
