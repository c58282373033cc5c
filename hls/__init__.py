"""Hardware that the accelerator is built from, as high-level-synthesis and RTL sources."""
