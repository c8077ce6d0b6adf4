"""What ``report.json`` holds."""
