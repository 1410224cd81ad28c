"""Many series at once, on Ray Data: manifests in, a data set of Parquet tables out."""
