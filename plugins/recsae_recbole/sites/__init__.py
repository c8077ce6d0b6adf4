"""Where the states of RecBole's models are read and edited."""
