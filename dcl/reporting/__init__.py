"""What runs say: statistics, tables, claims, figures and the report."""
