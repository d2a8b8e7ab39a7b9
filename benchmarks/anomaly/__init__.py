"""Anomaly detection on the shared ADBench sets, ours beside PyOD's detectors."""
