"""Labelled images and clips (`open.open_dataset` opens them), and the rendered drive with exact labels."""
