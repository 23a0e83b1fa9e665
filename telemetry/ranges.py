"""Sets of offsets as ranges: what has arrived, what is missing, and their form on the wire."""
