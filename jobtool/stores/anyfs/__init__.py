"""Any filesystem of fsspec, as source and destination."""
