"""Meta Pseudo Labels: a student that corrects its teacher."""
