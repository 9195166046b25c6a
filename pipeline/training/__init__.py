"""Training: recipe, learner, methods' protocol, the one loop."""
