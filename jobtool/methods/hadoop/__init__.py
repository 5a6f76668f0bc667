"""What the methods that run Hadoop's programs have in common."""
