"""Two records of the same input: equal or not, where they part first, and why."""
