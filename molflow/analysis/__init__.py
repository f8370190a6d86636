"""What a trained flow is: the density of its coordinates, and how straight its ways are."""
