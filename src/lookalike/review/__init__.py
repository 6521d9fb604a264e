"""A review of a collection: clusters, outliers, doubtful labels, and the most diverse images."""
