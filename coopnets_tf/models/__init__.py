"""What `CoopNets`, `AlgorithmD` and `AlgorithmG`, beside this room, have in common."""
