"""Live streams: one hub a process, no task, queue or timer of its own for an idle stream."""
