"""A language model on an OpenAI-compatible server: settings, a cached client, its server."""
