# Using SCP (when HDFS not available)
# This would require configuration in the tool
impala-transfer \
    --source-host cluster1.example.com \
    --query "SELECT * FROM critical_table" \
    --output-format csv
