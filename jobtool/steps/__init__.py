"""What a job does besides copying: its steps, and the packages that bring them."""
