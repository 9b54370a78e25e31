"""Where a run computes: the mesh, its processes, their set-up, and what things cost there."""
