"""What a workflow says: nodes, graphs, files, and every mistake in them, without running any."""
