"""What `CoopNets`, `AlgorithmD` and `AlgorithmG` in the folder above share."""
