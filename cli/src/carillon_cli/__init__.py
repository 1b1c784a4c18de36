"""The `carillon` command line."""
