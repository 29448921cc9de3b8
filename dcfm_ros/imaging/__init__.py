"""Pixels: message buffers to arrays, resizing and back, label sets and palettes, overlays."""
