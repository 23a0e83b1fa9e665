"""The control room: takes in telemetry, detects, raises alarms, and dispatches tickets."""
