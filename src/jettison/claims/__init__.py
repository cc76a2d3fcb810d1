"""What is commonly said about making models fast and small, measured on the machine at hand."""
