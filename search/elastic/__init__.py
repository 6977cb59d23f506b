"""One set of weights for all networks of a space: trained once, each network cut out of them and measured."""
