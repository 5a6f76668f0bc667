"""Stores in HDFS: ``hdfs://`` by the NameNode's own protocol, ``webhdfs://`` by HTTP."""
