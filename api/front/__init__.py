"""HTTP itself: the protocol over the socket, and one exchange of request and answer."""
