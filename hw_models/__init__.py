"""The machine: its specification, the timing of its blocks, and the event model that joins them."""
