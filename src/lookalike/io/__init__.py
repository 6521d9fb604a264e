"""Files, downloads and tables: input and output that knows nothing of images."""
