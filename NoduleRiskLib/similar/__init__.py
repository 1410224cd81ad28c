"""LIDC's reference nodules with their readers' grades and pictures, and which of them are most like a nodule."""
