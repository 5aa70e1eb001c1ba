"""Ways on which a view is seen again, what dreams make of them, and what that is worth beside the truth."""
