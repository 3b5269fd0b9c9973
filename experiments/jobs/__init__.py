"""Work that is done behind the answers, by exactly one process of a deployment: jobs, their files, and the lease."""
