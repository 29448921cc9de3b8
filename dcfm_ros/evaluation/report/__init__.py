"""The report: what a recording's masks are like, and what they cost."""
