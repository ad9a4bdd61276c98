"""Images: where they are, what they become, and how people see them."""
