"""Several finished networks as one: which of them, what their mean is worth, when it does not know, what it costs."""
