"""The pretend field: a town's water played on real Modbus wires."""
