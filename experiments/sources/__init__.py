"""Where rows are read from for measuring: own tables, files, any Ibis connection."""
