# Disable distcp to use hdfs put
impala-transfer --no-distcp --target-hdfs-path /target/path
