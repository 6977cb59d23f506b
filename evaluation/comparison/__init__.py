"""Which strategies are worth their cost: searches by look-up in a table of trained cells, judged, drawn, on a page."""
