"""The dcfm command."""
