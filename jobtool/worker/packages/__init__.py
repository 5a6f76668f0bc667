"""The steps of packages, as workers do them."""
