"""Pages and API for dispatchers and crews."""
