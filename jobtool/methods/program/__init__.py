"""Running another program: its group of processes, its output, its end."""
