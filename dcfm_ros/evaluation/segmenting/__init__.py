"""A recording segmented into files: masks, an overlay, a bag and a table."""
