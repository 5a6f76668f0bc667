# Using hdfs put (with automatic fallback to hdfs cp if needed)
export USE_DISTCP=false
export TARGET_HDFS_PATH=/tmp/test_data

impala-transfer \
    --source-host localhost \
    --query "SELECT * FROM test_table LIMIT 1000" \
    --chunk-size 100000 \
    --max-workers 2
