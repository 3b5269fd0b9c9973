"""Where definitions are kept: revisions, the lock and the audit of every change."""
