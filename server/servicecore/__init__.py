"""Tickets: the promises of people, with their own database."""
