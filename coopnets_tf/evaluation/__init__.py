"""How good samples are: which are compared with which images, and by what."""
