"""What a genotype costs on a chip, without training and without a torch network: by our own mapper and price lists."""
