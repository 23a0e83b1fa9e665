"""The tables of the service core and their migrations."""
