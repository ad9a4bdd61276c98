"""Networks: the layers, the built-in ones, yours, and what they must be."""
