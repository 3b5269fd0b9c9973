"""What members will still order and spend, from a file of orders: no server, no set-up."""
