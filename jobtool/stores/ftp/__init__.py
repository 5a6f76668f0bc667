"""FTP servers as sources: ``ftp://`` and ``ftps://``."""
