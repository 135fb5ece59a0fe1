"""What is wrong with a data set: findings, sums, verdicts."""
