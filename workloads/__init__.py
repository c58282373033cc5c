"""What is to be computed: networks, their training operations, and the trace that carries them."""
