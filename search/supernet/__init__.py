"""All candidates at once: plain, in kernel space, or along all paths of a trellis."""
