"""The pure rules of the service core: what a ticket may do next."""
