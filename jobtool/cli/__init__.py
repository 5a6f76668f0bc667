"""The commands: one thin module each. No other part of jobtool prints."""
