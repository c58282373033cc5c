"""A whole training iteration of a network as one program of the exported accelerator."""
