"""What to label next: the unlabelled images whose labels would help most."""
