"""How the world talks to it: HTTP, web pages, command line."""
