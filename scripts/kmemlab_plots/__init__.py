"""What all plot scripts and the report share: loading, statistics, style, wording."""
