"""The one loop that trains and tests: batches, schedules, checkpoints, history, progress."""
