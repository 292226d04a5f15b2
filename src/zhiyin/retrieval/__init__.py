"""G: eligibility and exact top-N."""
