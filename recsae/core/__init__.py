"""Errors, column names, files, processes and threads, compiled loops, intervals. Imports nothing of recsae."""
