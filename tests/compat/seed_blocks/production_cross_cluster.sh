# Using distcp (recommended)
export USE_DISTCP=true
export SOURCE_HDFS_PATH=/data/source
export TARGET_CLUSTER=cluster2.example.com
export TARGET_HDFS_PATH=/data/target

impala-transfer \
    --source-host cluster1.example.com \
    --query "SELECT * FROM large_table WHERE date = '2024-01-01'" \
    --chunk-size 2000000 \
    --max-workers 8
