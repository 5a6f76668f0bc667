# Enable distcp (default)
impala-transfer --use-distcp --source-hdfs-path /source/path --target-cluster cluster2.example.com --target-hdfs-path /target/path
