"""From a goal to latents and strengths, beside what one would do without latents."""
