"""What is learned from trained cells of others that are not trained yet: who is better. May import scores."""
