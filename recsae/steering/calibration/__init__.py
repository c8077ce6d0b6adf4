"""Calibrated recommendations: lists whose shares are those of each user's own history."""
