"""What both ends agree on: instants, units, points, samples, register maps and the wire. Pure."""
