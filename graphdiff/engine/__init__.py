"""How a workflow runs: keys, plan, stores, agenda, run, events."""
