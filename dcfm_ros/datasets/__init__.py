"""Labelled images and clips, and the rendered drive with exact labels."""
