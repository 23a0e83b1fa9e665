"""Night flow and water balance of zones: pure arithmetic over hours, and what reads the hours."""
