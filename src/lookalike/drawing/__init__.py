"""Still images of results, scores and maps."""
