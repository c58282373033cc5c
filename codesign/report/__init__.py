"""Views of a result: terminal tables, JSON, CSV, a Perfetto timeline."""
