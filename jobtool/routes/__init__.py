"""Sites, their locations, and the routes between them: which way data goes, and why."""
