"""Finds out whether the node would start on this machine, and with what; says what to do where it would not."""
