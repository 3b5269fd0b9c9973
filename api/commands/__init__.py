"""One module for each subcommand of `equipoise`."""
