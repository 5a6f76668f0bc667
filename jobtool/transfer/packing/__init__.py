"""Files that are compressed on their way to the destination, or unpacked on their way back."""
