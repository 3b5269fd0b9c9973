"""What a customer will still buy: repeat purchase, spend and value with intervals."""
