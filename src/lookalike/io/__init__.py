"""Files, downloads, tables and the environment: input and output without any images."""
