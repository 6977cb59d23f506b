"""What can be said of a genotype before or without training it: one number, higher is better. May import objective.

Left out on purpose:

    grasp   -sum of w * (H g): a second derivative. The derivative of a spike is a surrogate, chosen for the backward
            pass; what is its derivative in turn says nothing of the network.
"""
