"""The log and what the reports say, as Parquet files for other tools: one file for each UTC day and table."""
