"""What somebody who writes a store or a layout needs for its tests."""
