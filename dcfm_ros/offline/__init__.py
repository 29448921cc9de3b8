"""Recordings segmented into files: masks, an overlay, a bag and a table of each; one recording, or a fleet of them."""
