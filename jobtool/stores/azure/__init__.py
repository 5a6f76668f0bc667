"""The store of Azure Blob Storage and, by the same API, of Azure Data Lake Storage Gen2."""
