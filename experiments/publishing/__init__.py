"""From definitions to the files that every node decides from."""
