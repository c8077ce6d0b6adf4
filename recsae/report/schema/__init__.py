"""What ``report.json`` holds, as pydantic models and as a versioned JSON Schema."""
