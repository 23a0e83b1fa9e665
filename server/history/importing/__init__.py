"""What others write, into recordings: CSV, BattLeDIM's folder, EPANET's series, InfluxDB's rows."""
