"""Which files of a tree are transferred: rules by rclone's patterns, sizes and times."""
