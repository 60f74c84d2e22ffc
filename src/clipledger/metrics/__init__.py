"""Figures for a monitoring system: `run --metrics-port` serves them as Prometheus text.

`table` names every metric, `meter` keeps them, `hearing` counts what the events tell, `sampling` looks into the
database at a bounded rate, `door` answers scrapes. Loaded only when a port is asked for.
"""
