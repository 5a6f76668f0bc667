"""Impala, Hive and Spark by the protocol of HiveServer2, with impyla's connections and types."""
