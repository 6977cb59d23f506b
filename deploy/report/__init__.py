"""What a person reads: the HTML page, the Markdown summary, comparisons of runs."""
