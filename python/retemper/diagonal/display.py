"""Drawing of diagonal networks; matplotlib is imported on use."""
