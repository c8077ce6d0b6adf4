"""What the report says in sentences: its headlines, findings, and what steering reaches."""
