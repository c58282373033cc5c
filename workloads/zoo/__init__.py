"""Named networks as builders of forward graphs; every size that a user may change is a parameter."""
