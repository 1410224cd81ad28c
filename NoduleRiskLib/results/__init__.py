"""What is said about a nodule, and the forms in which people and files get it."""
