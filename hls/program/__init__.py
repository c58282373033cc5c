"""Programs of the exported accelerator: their format, text, memory and interpreter."""
