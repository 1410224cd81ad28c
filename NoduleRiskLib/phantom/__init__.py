"""A synthetic chest CT whose nodules have the shapes that LIDC's readers drew."""
