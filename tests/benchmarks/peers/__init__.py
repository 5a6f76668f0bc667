"""jobtool beside the tools that people use today: see ``__main__``."""
