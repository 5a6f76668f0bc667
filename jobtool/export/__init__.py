"""Export: the rows of a query become files."""
