"""The one loop of every search that asks and is told: candidates, results, goals, history, executors."""
