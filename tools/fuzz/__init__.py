"""Random inputs to the command line: no traceback, nothing half-written, no wrong result."""
